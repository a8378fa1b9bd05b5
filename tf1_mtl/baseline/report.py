"""Writes the text and the JSON of a check.

A report begins with what broke or deviates. A table of verdicts follows, with a row for each task
and a column for the loss and each weight. Then come the first divergence and a line for each case.
"""

import json
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.judge import LOSS

if TYPE_CHECKING:  # checking imports this module
    from tf1_mtl.baseline.checking import CaseResult, Report

RIGHT, WRONG, NOT_JUDGED, NOT_TRAINED = "right", "wrong", "not judged", "-"
# More weights than these are grouped by the first part of their names.
COLUMNS = 8


def text(report: "Report") -> str:
    """Returns the report as lines of text."""
    total, steps = len(report.cases), sum(result.steps for result in report.cases)
    lines = [f"not written yet: {what}" for what in report.unwritten]
    if lines and not steps:
        return "\n".join(lines)
    broken = [result for result in report.cases if result.broke and not result.unwritten]
    if broken:
        where = f"broke in {len(broken)} of {counted(total, 'case')}, first in {broken[0].broke}"
        lines += [where, ""]
    if report.passed:
        lines.append(
            f"conformant: {counted(total, 'case')}, {steps} steps, all within float32 rounding"
        )
    elif report.first or report.dtypes:
        bad = sum(bool(result.divergence or result.dtypes) for result in report.cases)
        lines += [f"deviates in {bad} of {counted(total, 'case')}", ""]
        if any(result.judgement.verdicts for result in report.cases):
            lines += [*_table(report.cases), ""]
        lines += _dtype_lines(report.dtypes)
        if report.first:
            lines.append(f"first divergence: {divergence_text(report.first)}")
        if not report.is_repeatable:
            lines.append(
                "not-repeatable: the same case gave other values the second time. The port draws "
                "random numbers, or keeps state from one model to the next."
            )
        if report.diagnosis:
            lines += report.diagnosis.lines
        lines.append("")
    reasons = {
        item: None for result in report.cases for item in result.judgement.not_judged.items()
    }
    lines += [f"not judged: task {task}: {why}" for task, why in reasons]
    width = max(len(result.case) for result in report.cases)
    lines += [f"  {result.case:{width}}  {_verdict(result)}" for result in report.cases]
    return "\n".join(lines + [f"note: {note}" for note in report.notes])


def _dtype_lines(dtypes: Sequence[Any]) -> List[str]:
    """Returns a line for each wrong dtype, which names all that have it."""
    alike: Dict[Tuple[str, str], List[str]] = {}
    for wrong in dtypes:
        alike.setdefault((wrong.obtained, wrong.expected), []).append(wrong.what)
    return [
        f"dtype: {', '.join(what)} {'is' if len(what) == 1 else 'are'} {obtained}, "
        f"should be {expected} (cast, and the rest judged)"
        for (obtained, expected), what in alike.items()
    ]


def case_text(result: "CaseResult") -> str:
    """Returns what was found on one case."""
    if result.unwritten and not result.steps:
        return f"golden '{result.case}': not written yet: {result.unwritten}"
    if result.divergence:
        return divergence_text(result.divergence)
    if result.broke:
        return f"broke in {result.broke}"
    return f"golden '{result.case}': {_verdict(result)}"


def to_json(report: "Report") -> str:
    """Returns one JSON object with everything that the text states."""
    content = {
        "passed": report.passed,
        "broke": report.broke,
        "unwritten": report.unwritten,
        "cases": [
            {
                "case": result.case,
                "steps": result.steps,
                "passed": result.passed,
                "broke": result.broke,
                "divergence": result.divergence and result.divergence._asdict(),
                "not_judged": result.judgement.not_judged,
            }
            for result in report.cases
        ],
        "verdicts": {
            task: dict(row) for task, row in _verdicts(report.cases, _columns(report.cases)).items()
        },
        "dtypes": [wrong._asdict() for wrong in report.dtypes],
        "first": report.first and report.first._asdict(),
        "ids": report.ids,
        "is_repeatable": report.is_repeatable,
        "diagnosis": report.diagnosis and _diagnosis(report.diagnosis),
        "notes": report.notes,
    }
    return json.dumps(plain(content), indent=2, allow_nan=False)


def _diagnosis(diagnosis: Any) -> Dict[str, Any]:
    return {
        "text": "\n".join(diagnosis.lines),
        "edits": [edit._asdict() for edit in diagnosis.edits],
        "explained": diagnosis.explained,
        "measured": diagnosis.measured,
        "search_ended_after": diagnosis.seconds,
    }


def _table(cases: Sequence["CaseResult"]) -> List[str]:
    """Returns the verdicts: a row for each task and a column for each quantity."""
    columns = _columns(cases)
    verdicts = _verdicts(cases, columns)
    rows = [["task", *columns]] + [
        [task, *(row[column] for column in columns)] for task, row in verdicts.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip()
        for row in rows
    ]


def _columns(cases: Sequence["CaseResult"]) -> Dict[str, Tuple[str, ...]]:
    """Returns the columns: the loss and the weights, or groups of them where there are many."""
    names: Dict[str, None] = {}
    for result in cases:
        found = {quantity for _, quantity in result.judgement.verdicts}
        names.update((name, None) for name in result.judgement.weights if name in found)
    weights = list(names)
    columns: Dict[str, Tuple[str, ...]] = {LOSS: (LOSS,)}
    for name in weights:
        group = name.split("/")[0] if len(weights) > COLUMNS else name
        columns[group] = (*columns.get(group, ()), name)
    return columns


def _verdicts(
    cases: Sequence["CaseResult"], columns: Dict[str, Tuple[str, ...]]
) -> Dict[str, Dict[str, str]]:
    """Returns {task: {column: verdict}} over all cases."""
    wrong: Dict[Tuple[str, str], bool] = {}
    for result in cases:
        for key, step in result.judgement.verdicts.items():
            wrong[key] = wrong.get(key, False) or step is not None
        for task in result.judgement.not_judged:
            wrong.setdefault((task, ""), False)
    judged = {task for task, quantity in wrong if quantity}
    table: Dict[str, Dict[str, str]] = {}
    for task in sorted({task for task, _ in wrong}):
        table[task] = {
            column: _cell([wrong.get((task, name)) for name in names], task in judged)
            for column, names in columns.items()
        }
    return table


def _cell(wrong: List[Optional[bool]], judged: bool) -> str:
    """Returns the verdict of a column. None stands for a weight that the task does not train."""
    known = [verdict for verdict in wrong if verdict is not None]
    if not known:
        return NOT_TRAINED if judged else NOT_JUDGED
    if not any(known):
        return RIGHT
    return WRONG if len(known) == 1 else f"{WRONG} ({sum(known)} of {len(known)})"


def _verdict(result: "CaseResult") -> str:
    found = result.divergence
    if found:
        when = f"at step {found.step}" if found.step >= 0 else "before step 0"
        return f"deviates {when} ({found.stage})"
    if result.broke:
        return f"broke after {result.steps} steps"
    if result.dtypes:
        return f"deviates (dtype), {result.steps} steps"
    if result.judgement.not_judged:
        return f"not judged whole, {result.steps} steps"
    return f"conforms, {result.steps} steps"


def counted(number: int, what: str) -> str:
    """Returns a number and its noun, "1 case" or "2 cases"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def divergence_text(found: Any) -> str:
    """Returns the sentence about a `Divergence` and the lines that belong to it."""
    first = f"{found.where}: {_number(found.obtained)}, should be {_number(found.expected)}"
    if found.distance is None or found.tolerance is None:
        return f"{first}\n  stage: {found.stage}"
    off = f"{found.distance:.2g} off" if np.isfinite(found.obtained) else "not finite"
    ulps = "" if found.ulps is None else f"{found.ulps} ulp, "
    lines = [f"{first} ({ulps}{off}; tolerance {found.tolerance:.2g})"]
    if found.recorded is not None:
        lines.append(f"  TensorFlow {found.recorded_by} recorded {_number(found.recorded)}")
    lines.append(f"  stage: {found.stage}; {found.off} of {found.size} elements are off")
    if found.agrees:
        lines.append("  still right: " + ", ".join(found.agrees))
    lines.append(f"  tolerance: {found.reason}")
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def plain(value: Any) -> Any:
    """Returns what JSON can hold. It has neither tuples nor numbers that are not finite."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
