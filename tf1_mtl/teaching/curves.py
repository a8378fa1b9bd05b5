"""Draws loss curves, one line for each task."""

from typing import Any, Dict, Iterable, List, Tuple

import numpy as np

from tf1_mtl.errors import InputError
from tf1_mtl.teaching import style
from tf1_mtl.training import Step

_NAMES = {"Y1": "task Y1", "Y2": "task Y2", "joint": "both tasks (joint)"}
#: The number of points of a line at which two lines can still be distinguished.
_POINTS = 60


def plot(steps: Iterable[Step], path: str) -> None:
    """Draws the losses of a run, one line for each task, into a PNG or SVG file.

    The loss axis is logarithmic when the largest loss is ten times the smallest or more. For a
    long run, every loss is drawn thin and pale, with the means of several steps above.

    Args:
      steps: What `train` yielded, in any number and order of tasks.
      path: The .png or .svg file. Check it before a long run with `style.check_path`.

    Raises:
      InputError: There are no steps, or the path cannot be written.
      MissingExtra: matplotlib is not installed.
    """
    style.check_path(path)
    style.save(paint(steps), path, "Losses of a run, one line a task")


def paint(steps: Iterable[Step]) -> Any:
    """Returns the picture that `plot` writes, as a matplotlib Figure."""
    by_task: Dict[str, List[Tuple[int, float]]] = {}
    for step in steps:
        by_task.setdefault(step.task, []).append((step.step, float(step.loss)))
    if not by_task:
        raise InputError("plot: there are no steps to draw. Train for at least one.")

    figure = style.new_figure(8, 4.5)
    axes = figure.add_subplot()
    for task in sorted(by_task, key=list(_NAMES).index):
        look, label = style.LOOKS[task], _NAMES[task]
        points = np.array(by_task[task])
        together = -(-len(points) // _POINTS)
        if together > 1:
            axes.plot(*points.T, color=look["color"], alpha=0.25, linewidth=0.7)
            points = _means(points, together)
            label = f"{label}, mean of {together} steps"
        axes.plot(*points.T, label=label, **look)
    losses_of_all = [loss for points in by_task.values() for _, loss in points]
    if min(losses_of_all) > 0 and max(losses_of_all) >= 10 * min(losses_of_all):
        axes.set_yscale("log")
    numbers = [number for points in by_task.values() for number, _ in points]
    margin = max(0.5, 0.03 * (max(numbers) - min(numbers)))
    axes.set_xlim(min(numbers) - margin, max(numbers) + margin)
    axes.set_xlabel("step (the first is 0)")
    axes.set_ylabel("loss before the update\n(sum of squares / 2; no unit)")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    # Above the curves, where it hides no point.
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncol=len(by_task))
    figure.tight_layout()
    return figure


def _means(points: np.ndarray, together: int) -> np.ndarray:
    """Returns the means of groups of points (step, loss). The last group may be smaller."""
    starts = range(0, len(points), together)
    return np.array([points[start : start + together].mean(axis=0) for start in starts])
