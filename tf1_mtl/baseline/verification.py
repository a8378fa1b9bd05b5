"""Compares the evaluator with a recording: does the graph reproduce what TensorFlow recorded?

Each training run is evaluated from the variables that TensorFlow recorded before it. Every fetched
value and every variable after the run must lie within the derived bound.
"""

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case, CaseEvaluator, reading
from tf1_mtl.baseline.error_bounds import error_of, value_of
from tf1_mtl.baseline.evaluator import UnknownOperation
from tf1_mtl.baseline.unordered_reads import unordered_reads


class Verification(NamedTuple):
    """Holds what the evaluation of a case gave."""

    case: Case
    reproduced: int  #: training runs of which every recorded value is within its bound
    differences: Tuple[str, ...]  #: a sentence for each run that is not reproduced
    not_evaluated: Tuple[str, ...]  #: why tasks could not be evaluated

    @property
    def passed(self) -> bool:
        return self.reproduced == len(self.case.steps)

    def __str__(self) -> str:
        case = self.case
        lines = [
            f"golden '{case.name}', TensorFlow {case.recorded_by}: the graph of "
            f"{len(case.graph.nodes)} nodes reproduces {self.reproduced} of {len(case.steps)} "
            "training runs"
        ]
        for task in case.tasks.values():
            count = sum(step.task == task.name for step in case.steps)
            lines.append(f"  task {task.name}: {count} runs, loss {task.loss or 'not found'}")
        weights = {name: list(case.initial[key].shape) for name, key in case.weights.items()}
        lines += [f"  feeds: {_listed(case.feed_shapes())}", f"  weights: {_listed(weights)}"]
        if case.averages:
            lines.append(f"  judged if a port returns them too: {', '.join(case.averages)}")
        fetched = {name: None for step in case.steps for name in step.fetched}
        lines.append("  fetched values: " + (", ".join(fetched) or "none"))
        return "\n".join([*lines, *(f"  {line}" for line in self.differences + self.not_evaluated)])


def verify(case: Case) -> Verification:
    """Evaluates every training run of a case, and compares it with the recording.

    If a recording keeps the variables of some runs only, the evaluation continues from its own
    values, whose bounds grow.
    """
    evaluator = CaseEvaluator(case)
    state = evaluator.state = dict(case.initial)  # TensorFlow holds no number in double
    unknown: Dict[str, str] = {}
    differences: List[str] = []
    reproduced = 0
    for index, step in enumerate(case.steps):
        fetches = (*case.tasks[step.task].operations, *step.fetched)
        try:
            with np.errstate(all="ignore"), reading(case.place(index)):
                state.update(step.changed_before)
                evaluator.sharpens = not index or case.steps[index - 1].variables is not None
                evaluation = evaluator.evaluate(fetches, step.feeds, {})
                state.update(evaluation.variables)
                recorded = {**step.fetched, **(step.variables or {})}
                found = _first_difference({**state, **evaluation.values}, recorded)
            if found:
                race = _race(case, step.task, step.feeds)
                differences.append(f"{case.place(index)}: {found}{race}")
            else:
                reproduced += 1
        except UnknownOperation as error:
            unknown[step.task] = f"task {step.task}: {error}"
        state.update(step.variables or {})
    return Verification(case, reproduced, tuple(differences), tuple(unknown.values()))


def _first_difference(evaluated: Dict[str, Any], recorded: Dict[str, Any]) -> str:
    """Returns a sentence about the first value that is outside its bound, or ""."""
    for name, obtained in recorded.items():
        expected = evaluated.get(name)
        if expected is None or np.asarray(obtained).dtype.kind not in "fiub":
            continue
        value, error = value_of(expected), error_of(expected)
        if np.shape(value) != np.shape(obtained):
            return f"{name} has shape {list(np.shape(obtained))}, evaluated {list(np.shape(value))}"
        obtained = np.asarray(obtained, np.float64)
        same = (obtained == value) | (~np.isfinite(obtained) & ~np.isfinite(value))
        off = ~(same | (np.abs(obtained - value) <= error))
        if off.any():
            index = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
            return (
                f"{name}{list(index) if index else ''} recorded {obtained[index]:.9g}, evaluated "
                f"{value[index]:.9g}, bound {np.broadcast_to(error, off.shape)[index]:.2g}; "
                f"{int(off.sum())} of {off.size} elements"
            )
    return ""


def _race(case: Case, task: str, fed: Iterable[str]) -> str:
    """Returns a sentence about a read that may be the reason why a run differs, or ""."""
    found = unordered_reads(case.graph, case.tasks[task].operations, fed)
    if not found:
        return ""
    return (
        f". No edge orders the read of {found[0].variable} by {found[0].reader} and its update by "
        f"{found[0].update}: TensorFlow may do either first, and the evaluation reads first"
    )


def _listed(shapes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
