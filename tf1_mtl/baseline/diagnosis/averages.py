"""Searches what a port does to moving averages of weights, where the weights are wrong too.

The averages are taken of the weights that the port itself has. So wrong weights neither hide nor
cause differences of the averages.
"""

import functools
from typing import Dict, Iterator, Mapping, Optional

from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis.edits import Edit
from tf1_mtl.baseline.diagnosis.graph_edits import with_nodes
from tf1_mtl.baseline.diagnosis.model import Model, Update, updates_of
from tf1_mtl.baseline.diagnosis.mutation import Mutation
from tf1_mtl.baseline.gradient_scopes import GRADIENTS
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.recorded_graph import Node, needed_nodes, node_and_output, variable_of

#: Names of the placeholders that hold the weights of the port.
AFTER, BEFORE = " of the port after the run", " of the port before the run"


def without_averages(run: PortRun) -> PortRun:
    """Returns the run of a port that returns no moving averages."""
    return _returning(run, run.case._replace(weights=run.case.given, averages=()))


def of_averages(run: PortRun) -> Optional[PortRun]:
    """Returns the run of a port that returns moving averages of its own weights alone.

    None: an average follows something else, such as what the run feeds.
    """
    case = run.case
    names = [name for name in case.averages if name in case.weights]
    changed: Dict[str, Node] = {}
    for task in case.tasks:
        updates = updates_of(case, task)
        for name in names:
            if name in updates:
                following = _following(case, updates, updates[name].node.data_inputs[-1])
                if following is None:
                    return None
                changed.update(following)
    places = [(place, weight) for weight in case.given for place in (AFTER, BEFORE)]
    for place, weight in places:
        fed = _placeholder(weight, place)
        changed[fed] = Node(fed, "Placeholder", (), {"dtype": "float32"})
    steps = []
    for step, before, after in zip(case.steps, run.before, run.after):
        own = {AFTER: after, BEFORE: before}
        feeds = {_placeholder(weight, place): own[place][weight] for place, weight in places}
        steps.append(step._replace(feeds={**step.feeds, **feeds}))
    alone = case._replace(
        graph=with_nodes(case.graph, changed.values()),
        weights={name: name for name in names},
        averages=(),
        untrained=(),
        steps=tuple(steps),
        tasks={name: task._replace(loss="") for name, task in case.tasks.items()},
    )
    return _returning(run.first(len(steps))._replace(losses=[0.0] * len(steps)), alone)


def _returning(run: PortRun, case: Case) -> PortRun:
    """Returns a run on a case with fewer weights."""
    before, after = (
        [{name: weights[name] for name in case.weights if name in weights} for weights in every]
        for every in (run.before, run.after)
    )
    return run._replace(case=case, before=before, after=after)


def _placeholder(weight: str, place: str) -> str:
    return weight + place


def _following(case: Case, updates: Mapping[str, Update], moved: str) -> Optional[Dict[str, Node]]:
    """Returns the operations of an average that read weights, with the weights of the port.

    None: the average takes what is fed, or a gradient.

    Args:
      case: The case.
      updates: Of the weights, in the task that moves the average.
      moved: The tensor that the average takes.
    """
    graph, names = case.graph, {variable: name for name, variable in case.given.items()}
    fed = {node_and_output(tensor)[0] for step in case.steps for tensor in step.feeds}
    changed: Dict[str, Node] = {}
    nodes = needed_nodes(_without_controls(graph.nodes), [moved])
    if not fed.isdisjoint(nodes) or any(map(GRADIENTS.match, nodes)):
        return None
    for name, node in nodes.items():
        weights = [names.get(variable_of(graph.nodes, x) or "") for x in node.data_inputs]
        if node.op not in _READS and any(weights):
            earlier = needed_nodes(graph.nodes, [name])
            inputs = []
            for weight, x in zip(weights, node.data_inputs):
                is_after = weight in updates and updates[str(weight)].node.name in earlier
                place = AFTER if is_after else BEFORE
                inputs.append(_placeholder(weight, place) if weight else x)
            changed[name] = node._replace(inputs=tuple(inputs))
    return changed


_READS = ("Identity", "ReadVariableOp")


def _without_controls(nodes: Mapping[str, Node]) -> Dict[str, Node]:
    return {name: node._replace(inputs=node.data_inputs) for name, node in nodes.items()}


def time_mutations(case: Case) -> Iterator[Mutation]:
    """Yields mutations by which averages follow the weights before the run, or after it."""
    names = tuple(case.weights)
    for kind, known, other in (
        ("averaged before", AFTER, BEFORE),
        ("averaged after", BEFORE, AFTER),
    ):
        read = {x for name in names for x in _read(case, name) if x.endswith(known)}
        fed = {x: x[: -len(known)] + other for x in read}
        if fed:
            yield Mutation(Edit(kind, names), functools.partial(_fed_others, fed=fed))


def _read(case: Case, name: str) -> Iterator[str]:
    """Yields the placeholders that the updates of an average read."""
    for task in case.tasks:
        updates = updates_of(case, task)
        if name in updates:
            moved = updates[name].node.data_inputs[-1]
            nodes = needed_nodes(_without_controls(case.graph.nodes), [moved])
            yield from (x for x, node in nodes.items() if node.op == "Placeholder")


def _fed_others(model: Model, fed: Mapping[str, str]) -> Model:
    """Returns a model that is fed some tensors in place of others."""
    return model.with_feeds(
        lambda index, feeds: {**feeds, **{x: feeds[y] for x, y in fed.items() if y in feeds}}
    )
