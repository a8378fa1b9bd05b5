"""Searches what a port does to moving averages of weights, where the weights are wrong too.

The averages are taken of the weights that the port itself has. So what is wrong with the weights
does not hide, and does not show, in the averages.
"""

import functools
from typing import Dict, Iterator, Mapping, Optional

from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.edits import Edit
from tf1_mtl.baseline.gradient_scopes import GRADIENTS
from tf1_mtl.baseline.model import Model, updates_of
from tf1_mtl.baseline.mutation import Mutation
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.recorded_graph import (
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    variable_of,
)

#: Names of the placeholders that hold the weights of the port.
AFTER, BEFORE = " of the port after the run", " of the port before the run"


def without_averages(run: PortRun) -> PortRun:
    """Returns the run of a port that returns no moving averages."""
    return _returning(run, run.case._replace(weights=run.case.given, averages=()))


def of_averages(run: PortRun) -> Optional[PortRun]:
    """Returns the run of a port that returns moving averages of its own weights alone.

    None: an average follows something else than the weights that the port returns.
    """
    case = run.case
    names = [name for name in case.averages if name in case.weights]
    graph = case.graph
    for task in case.tasks:
        for name, update in updates_of(case, task).items():
            if name in names:
                changed = _following(graph, case, update.node.data_inputs[-1])
                if not changed:
                    return None
                graph = graph._replace(nodes={**graph.nodes, **changed})
    places = [(place, weight) for weight in case.given for place in (AFTER, BEFORE)]
    for place, weight in places:
        node = Node(_placeholder(weight, place), "Placeholder", (), {"dtype": "float32"})
        graph = graph._replace(nodes={**graph.nodes, node.name: node})
    steps = []
    for step, before, after in zip(case.steps, run.before, run.after):
        own = {AFTER: after, BEFORE: before}
        fed = {_placeholder(weight, place): own[place][weight] for place, weight in places}
        steps.append(step._replace(feeds={**step.feeds, **fed}))
    alone = case._replace(
        graph=graph,
        weights={name: name for name in names},
        averages=(),
        untrained=(),
        steps=tuple(steps),
        tasks={name: task._replace(loss="") for name, task in case.tasks.items()},
    )
    return _returning(run._replace(losses=[0.0] * len(run.losses)), alone)


def _returning(run: PortRun, case: Case) -> PortRun:
    """Returns a run on a case with fewer weights."""
    before, after = (
        [{name: weights[name] for name in case.weights if name in weights} for weights in every]
        for every in (run.before, run.after)
    )
    return run._replace(case=case, before=before, after=after)


def _placeholder(weight: str, place: str) -> str:
    return weight + place


def _following(graph: RecordedGraph, case: Case, moved: str) -> Dict[str, Node]:
    """Returns the operations of an average that read a weight, with the weight of the port."""
    names = {variable: name for name, variable in case.given.items()}
    changed: Dict[str, Node] = {}
    nodes = needed_nodes(_without_controls(graph.nodes), [moved])
    if any(GRADIENTS.match(name) or node.op == "Placeholder" for name, node in nodes.items()):
        return {}
    for name, node in nodes.items():
        weights = [names.get(variable_of(graph.nodes, x) or "") for x in node.data_inputs]
        if node.op not in _READS and any(weights):
            inputs = [
                _placeholder(weight, AFTER) if weight else canonical(x)
                for weight, x in zip(weights, node.data_inputs)
            ]
            changed[name] = node._replace(inputs=(*inputs, *node.inputs[len(inputs) :]))
    return changed


_READS = ("Identity", "ReadVariableOp")


def _without_controls(nodes: Mapping[str, Node]) -> Dict[str, Node]:
    return {name: node._replace(inputs=node.data_inputs) for name, node in nodes.items()}


def before_mutations(case: Case) -> Iterator[Mutation]:
    """Yields a mutation by which averages follow the weights as they are before the run."""
    fed = {x: x[: -len(AFTER)] + BEFORE for x in case.graph.nodes if x.endswith(AFTER)}
    names = tuple(case.weights)
    if fed:
        yield Mutation(Edit("averaged before", names), functools.partial(_fed_before, fed=fed))


def _fed_before(model: Model, fed: Mapping[str, str]) -> Model:
    """Returns a model that is fed some tensors in place of others."""
    return model.with_feeds(
        lambda index, feeds: {**feeds, **{x: feeds[y] for x, y in fed.items() if y in feeds}}
    )
