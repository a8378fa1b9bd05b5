"""The report of a comparison for people to read."""

import textwrap
from typing import Any, Dict, List

from tf1_mtl.teaching.comparison_report import Report, shown, title
from tf1_mtl.teaching.comparison_settings import ALONE, WORDS

_WIDTH = 110


def text(found: Report) -> str:
    """Tables, then what the figures support and what they do not.

    Args:
      found: From `comparison_report.report`.
    """
    opening = (
        f"{found['seeds']} seeds, {found['steps']} steps of each task, {found['batch']} rows a "
        "step. Losses are sum of squares / 2 a row, on rows held out. Each figure is the median of "
        "the seeds, and in brackets the interval that holds the median of all seeds with "
        f"{found['interval']['coverage']:.1%}, whatever the distribution (order statistics). "
        "Multiples are taken seed by seed. Every regime takes each task as often as it is trained "
        "alone, but for alternating in proportion to the data, which shares as many steps out "
        "unevenly. An output is silent that is 0 for every row held out."
    )
    lines = textwrap.wrap(opening, _WIDTH)
    for setting in found["settings"]:
        lines += ["", title(setting), f"rows to train on: {_rows(setting['rows'])}"]
        for task in ("Y1", "Y2"):
            lines += _table(setting, task)
    lines += _biases(found)
    for heading, key in (
        ("What these figures support:", "supports"),
        ("What they do not show:", "does_not_support"),
    ):
        lines += ["", heading]
        for sentence in found[key]:
            lines += textwrap.wrap(f"- {sentence}", _WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def _table(setting: Dict[str, Any], task: str) -> List[str]:
    lines = [_row(task, "loss", "times alone", "accuracy", "silent", "steps", "seconds")]
    lines.append(_row("  a constant guess", shown(setting["constant_guess"][task])))
    for name, regime in setting["regimes"].items():
        accuracy = regime["accuracy"][task]
        silent = regime["silent_outputs"][task]["values"]
        lines.append(
            _row(
                f"  {WORDS[name]}",
                shown(regime["loss"][task]),
                "" if name == ALONE else shown(regime["against_alone"][task]),
                "" if accuracy is None else shown(accuracy),
                f"{min(silent)}-{max(silent)}",
                f"{regime['steps'][task]['median']:.0f}",
                f"{regime['seconds']['median']:.2f}",
            )
        )
    return lines


def _biases(found: Report) -> List[str]:
    lines = []
    if found["bias_toward_larger_set"]:
        lines += ["", "Bias toward the larger data set: loss against the task alone,"]
        lines += ["the smaller set's task as a multiple of the larger set's"]
        for name, bias in found["bias_toward_larger_set"].items():
            lines.append(_row(f"  {WORDS[name]}", shown(bias)))
    lines += ["", "Bias toward the last task trained: loss when the other task had the last steps,"]
    lines += ["as a multiple of the loss when the task itself had them"]
    lines.append(_row("  from the state that was reached", "Y1", "Y2"))
    for name, regime in found["settings"][0]["regimes"].items():
        for steps, ratios in regime["other_task_last"].items():
            label = f"  {WORDS[name]}, then {steps}"
            lines.append(_row(label, shown(ratios["Y1"]), shown(ratios["Y2"])))
    return lines


def _row(label: str, loss: str, alone: str = "", accuracy: str = "", *rest: str) -> str:
    cells = f"{label:<40}{loss:<25}{alone:<23}{accuracy:<23}"
    return (cells + "".join(f"{cell:<8}" for cell in rest)).rstrip()


def _rows(rows: Dict[str, int]) -> str:
    if rows["Y1"] == rows["Y2"]:
        return f"{rows['Y1']} of each task"
    return f"{rows['Y1']} of Y1, {rows['Y2']} of Y2"
