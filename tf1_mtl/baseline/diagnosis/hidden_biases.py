"""Finds biases that a port trains and does not show, where their initial values are unknown.

The bias of `torch.nn.Linear` starts at random numbers, so no model of the port can be simulated.
The port itself is run on other feeds instead. Feeds of zeros show where a bias is. Huge feeds make
its share of every number smaller than a rounding error, and then show what else differs.
"""

from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case, Step
from tf1_mtl.baseline.diagnosis.diagnose import Diagnosis, diagnose
from tf1_mtl.baseline.diagnosis.edits import Edit
from tf1_mtl.baseline.diagnosis.graph_edits import PRODUCTS
from tf1_mtl.baseline.diagnosis.places import places_of
from tf1_mtl.baseline.evaluator import Plan
from tf1_mtl.baseline.judge import judge
from tf1_mtl.baseline.port_run import Port, run_port
from tf1_mtl.baseline.recorded_graph import needed_nodes, node_and_output, variable_of

LARGE = 2.0**24  #: the largest number of the huge feeds
#: Beside a number so large a bias is a rounding error, and it changes no sign of the smallest.
USUAL, LEAST = 1e6, 1e3
STEPS = 20  #: of a case that are run on them
CASES = 4  #: that are run on them
MOST_EDITS = 2  #: beside the biases; more of them may explain huge feeds by chance
NOTE = (
    "The biases start at unknown values. The rest was found with feeds times a large number, where "
    "biases do not count. What shows with small gradients only, such as epsilon, is not seen."
)


def diagnose_with_biases(
    port: Port, cases: Sequence[Case], biased: Tuple[str, ...], seconds: Optional[float] = None
) -> Optional[Diagnosis]:
    """Returns what a port with biases does otherwise; None where it is not explained.

    Args:
      port: As for `check`.
      cases: What it was run on.
      biased: What `biased_activations` returned.
      seconds: As for `diagnose`.
    """
    chosen = [large for case in cases for large in _with_huge_feeds(case)][:CASES]
    if not chosen:
        return None
    runs = [run_port(port, case) for case in chosen]
    if any(run.wrong or run.broke for run in runs):
        return None
    edits: Tuple[Edit, ...] = ()
    if any(judge(run).divergence for run in runs):
        found = diagnose(runs, 0.5, factors_show=False, seconds=seconds, or_a_part=False)
        edits = found.edits
        if not found.is_whole or len(edits) > MOST_EDITS:
            return None
    return Diagnosis((Edit("bias added", biased), *edits), note=NOTE)


def _with_huge_feeds(case: Case) -> Iterator[Case]:
    """Yields a case with feeds times a power of two, where that makes biases small."""
    steps = case.steps[:STEPS]
    floats = [x for step in steps for x in step.feeds.values() if np.asarray(x).dtype.kind == "f"]
    largest = max((float(np.abs(x).max(initial=0)) for x in floats), default=0.0)
    if not largest or not all(_is_far_off(case, s) for s in steps):
        return
    factor = np.float32(2.0 ** np.floor(np.log2(LARGE / largest)))
    huge = [_fed(step, {name: x * factor for name, x in step.feeds.items()}) for step in steps]
    if all(_hides_biases(case, step) for step in huge):
        yield case._replace(name=f"{case.name}, huge feeds", steps=tuple(huge))


def _sums_squares(case: Case) -> bool:
    """Returns whether all losses are `l2_loss` of layers that pass on what is large."""
    nodes = needed_nodes(case.graph.nodes, [task.loss for task in case.tasks.values() if task.loss])
    known = (*PRODUCTS, "Relu", "Sub", "Add", "AddV2", "L2Loss", "Identity", "Placeholder")
    return all(x.op in known or variable_of(nodes, x.name) for x in nodes.values())


def _is_far_off(case: Case, step: Step) -> bool:
    """Returns whether the error of a step is large beside what a bias adds to it."""
    labels = [x for name, x in step.feeds.items() if name != case.feeds.get("X")]
    squares = sum(float((np.asarray(x, np.float64) ** 2).sum()) for x in labels)
    return step.loss is not None and float(step.loss) > 1e-2 * squares


def _hides_biases(case: Case, step: Step) -> bool:
    """Returns whether all that activations take is large."""
    taken = [case.graph.nodes[x].data_inputs[0] for x in places_of(case, step.task).activations]
    plan = Plan(case.graph, taken, step.feeds)
    values = plan.run(step.feeds, case.initial, bounds=False).values
    sizes = [np.abs(x) for x in values.values()]
    return all(size.min() > LEAST and np.median(size) > USUAL for size in sizes)


def _fed(step: Step, feeds: Mapping[str, np.ndarray]) -> Step:
    return Step(step.task, feeds, None, None)


def biased_activations(port: Port, cases: Sequence[Case]) -> Tuple[str, ...]:
    """Returns the activations before which a port adds something, from outputs for zeros."""
    if not all(map(_sums_squares, cases)):
        return ()
    firsts: Dict[str, Tuple[Case, Step]] = {}
    for case in cases:
        for step in case.steps:
            firsts.setdefault(step.task, (case, step))
    found: Dict[str, bool] = {}
    tasks = [task for task, (case, _) in firsts.items() if case.tasks[task].loss]
    for task in sorted(tasks, key=lambda t: len(firsts[t][0].loss_nodes(t))):
        case, step = firsts[task]
        without = _output_of_zeros(port, case, step, ())
        for place in places_of(case, task).activations:
            if place not in found:
                after = _weights_after(case, task, place)
                output = _output_of_zeros(port, case, step, after) if after else without
                found[place] = output > (1e3 * without if after else 0)
    return tuple(place for place, is_biased in found.items() if is_biased)


def _weights_after(case: Case, task: str, place: str) -> List[str]:
    """Returns the variables by which what an activation gives is multiplied."""
    nodes = case.loss_nodes(task)
    return [
        variable_of(nodes, node.data_inputs[1]) or ""
        for node in nodes.values()
        if node.op in PRODUCTS
        and place in needed_nodes(nodes, [node_and_output(node.data_inputs[0])[0]])
    ]


def _output_of_zeros(port: Port, case: Case, step: Step, after: Sequence[str]) -> float:
    """Returns the size of the output for zero inputs and weights.

    It is the difference of the losses for the labels 1 and -1. A penalty of the weights is in both.

    Args:
      port: As for `check`.
      case: Whose weights are set to zero.
      step: Whose feeds are replaced.
      after: Variables of weights that are large instead.
    """
    initial = dict(case.initial)
    for variable in case.weights.values():
        initial[variable] = np.full_like(initial[variable], 1024.0 if variable in after else 0.0)
    losses = []
    for label in (1.0, -1.0):
        given = {
            name: np.full_like(x, 0.0 if name == case.feeds.get("X") else label)
            for name, x in step.feeds.items()
        }
        run = run_port(port, case._replace(steps=(_fed(step, given),), initial=initial))
        losses.append(run.losses[0] if run.losses else 0.0)
    return abs(losses[0] - losses[1])
