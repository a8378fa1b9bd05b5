"""Gives the batches that are fed: random draws as in the article, or arrays of a user.

A *draw* is a function that takes a task ("Y1", "Y2" or "joint") and gives the `Batch` to feed;
`alternate` and `joint` ask it for one batch a step. Everything random comes from one
`numpy.random.RandomState`, in the order of the article.
"""

from typing import Any, Callable, Dict, Iterator, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from tf1_mtl.data import Data, as_float32, is_whole
from tf1_mtl.errors import InputError

#: What a step of each task needs; it may be fed more, as the article does.
NEEDS = {"Y1": ("X", "Y1"), "Y2": ("X", "Y2"), "joint": ("X", "Y1", "Y2")}


class Batch(NamedTuple):
    """What one step is fed with; a label that is not fed is None."""

    task: str  #: "Y1", "Y2" or "joint"
    X: np.ndarray  #: [rows, inputs]
    Y1: Optional[np.ndarray]  #: [rows, tasks[0]]
    Y2: Optional[np.ndarray]  #: [rows, tasks[1]]


#: Rows of a batch of the article.
ROWS = 10

Draw = Callable[[str], Batch]


def alternate(draw: Draw, rng: np.random.RandomState, steps: int = 10) -> Iterator[Batch]:
    """Yields the batches of alternate training: each step flips a coin, then draws its batch.

    Args:
      draw: Gives the batch of a task.
      rng: Flips the coin: below 0.5 is task "Y1". The article uses one stream for the coin and
        the data, so give the draw the same one.
      steps: How many batches.

    Raises:
      InputError: At the first batch: steps is not a whole number of at least 1.
    """
    check_steps(steps)
    for _ in range(steps):
        yield draw("Y1" if rng.rand() < 0.5 else "Y2")


def joint(draw: Draw, steps: int = 1) -> Iterator[Batch]:
    """Yields the batches of joint training: every step trains both tasks on the same rows.

    Args:
      draw: Gives the batch of a task.
      steps: How many batches.

    Raises:
      InputError: At the first batch: steps is not a whole number of at least 1.
    """
    check_steps(steps)
    for _ in range(steps):
        yield draw("joint")


def article_draw(
    rng: np.random.RandomState,
    batch: int = ROWS,
    inputs: int = 10,
    tasks: Sequence[int] = (20, 20),
) -> Draw:
    """Returns a draw of the data of the article: X, Y1, Y2 in this order, uniform on [0, 10).

    All three are always fed.

    Args:
      rng: The one stream of a run.
      batch: Rows.
      inputs: Columns of X.
      tasks: Columns of Y1 and of Y2.

    Returns:
      A draw; its arrays are float64, as NumPy makes them.
    """

    def draw(task: str) -> Batch:
        X = rng.rand(batch, inputs) * 10
        Y1 = rng.rand(batch, tasks[0]) * 10
        Y2 = rng.rand(batch, tasks[1]) * 10
        return Batch(task, X, Y1, Y2)

    return draw


def data_draw(data: Data, rng: np.random.RandomState, batch: Optional[int] = None) -> Draw:
    """Returns a draw of rows of a user: all arrays of one set; of two sets, those of the task.

    Args:
      data: From `data.load_data` or `data.make_data`.
      rng: Picks the rows.
      batch: Rows a step, picked without replacement; None feeds all rows in their order.

    Raises:
      InputError: batch is not a whole number from 1 to the number of rows. The draw raises it if
        the task is joint and there are two separate sets.
    """
    rows = (len(data.X1), len(data.X2))
    if batch is not None and not (is_whole(batch) and 1 <= batch <= min(rows)):
        raise InputError(
            f"batch: {batch!r}, but should be a whole number from 1 to {min(rows)}, the rows of "
            "the data. Ask for a smaller batch or leave it out to feed all rows."
        )

    def pick(count: int) -> Any:
        return slice(None) if batch is None else rng.permutation(count)[:batch]

    def draw(task: str) -> Batch:
        if data.one_set:
            chosen = pick(rows[0])
            return Batch(task, data.X1[chosen], data.Y1[chosen], data.Y2[chosen])
        if task == "Y1":
            chosen = pick(rows[0])
            return Batch(task, data.X1[chosen], data.Y1[chosen], None)
        if task == "Y2":
            chosen = pick(rows[1])
            return Batch(task, data.X2[chosen], None, data.Y2[chosen])
        data.need_one_set()
        raise InputError(f"task: {task!r}, but should be one of {list(NEEDS)}.")

    return draw


def checked(
    batch: Batch, shapes: Mapping[str, Sequence[Optional[int]]], where: str
) -> Dict[str, np.ndarray]:
    """Checks one batch against the placeholders of the graph.

    Args:
      batch: What is to be fed.
      shapes: The placeholders' shapes by name; None in a shape takes any size.
      where: Opens the error messages.

    Returns:
      The arrays to feed by placeholder name, float32.

    Raises:
      InputError: An unknown task, a label that the task needs and lacks, arrays that cannot be
        fed (see `as_float32`), or arrays with different rows.
    """
    if batch.task not in NEEDS:
        raise InputError(f"{where}: task is {batch.task!r}, but should be one of {list(NEEDS)}.")
    given = {name: getattr(batch, name) for name in shapes if getattr(batch, name) is not None}
    for name in NEEDS[batch.task]:
        if name not in given:
            raise InputError(
                f"{where}: task {batch.task!r} needs {name}, which is None. Give it, or train "
                "another task on this batch."
            )
    arrays = {
        name: as_float32(f"{where}: {name}", value, shapes[name]) for name, value in given.items()
    }
    if len({len(array) for array in arrays.values()}) > 1:
        rows = ", ".join(f"{name} has {len(array)}" for name, array in arrays.items())
        raise InputError(f"{where}: rows differ ({rows}), but should be the same.")
    return arrays


def check_steps(steps: Any) -> None:
    """Raises InputError unless steps is a whole number of at least 1."""
    if not is_whole(steps) or steps < 1:
        raise InputError(f"steps: {steps!r}, but should be a whole number of at least 1.")
