"""What is fed: the article's random draws, or a user's own arrays. NumPy only.

A *draw* is a function that takes a task ("Y1", "Y2" or "joint") and gives the `Batch` to feed;
`alternate` and `joint` ask it for one batch a step. Everything random comes from one
`numpy.random.RandomState`, in the article's order.
"""

import math
import zipfile
import zlib
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from tf1_mtl.errors import InputError

#: What each task's step needs; it may be fed more, as the article does.
NEEDS = {"Y1": ("X", "Y1"), "Y2": ("X", "Y2"), "joint": ("X", "Y1", "Y2")}


class Batch(NamedTuple):
    """What one step is fed with; a label that is not fed is None."""

    task: str  #: "Y1", "Y2" or "joint"
    X: np.ndarray  #: [rows, inputs]
    Y1: Optional[np.ndarray]  #: [rows, tasks[0]]
    Y2: Optional[np.ndarray]  #: [rows, tasks[1]]


Draw = Callable[[str], Batch]


def alternate(draw: Draw, rng: np.random.RandomState, steps: int = 10) -> Iterator[Batch]:
    """The article's alternate session: each step flips a coin, then draws its batch.

    Args:
      draw: Gives the batch of a task.
      rng: Flips the coin: below 0.5 is task "Y1". The article uses one stream for the coin and
        the data, so give the draw the same one.
      steps: How many batches.
    """
    check_steps(steps)
    for _ in range(steps):
        yield draw("Y1" if rng.rand() < 0.5 else "Y2")


def joint(draw: Draw, steps: int = 1) -> Iterator[Batch]:
    """The article's joint session: every step trains both tasks on the same rows."""
    check_steps(steps)
    for _ in range(steps):
        yield draw("joint")


def article_draw(
    rng: np.random.RandomState,
    batch: int = 10,
    inputs: int = 10,
    tasks: Sequence[int] = (20, 20),
) -> Draw:
    """The article's data: X, Y1, Y2 in this order, uniform on [0, 10), all three always fed.

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


class Data(NamedTuple):
    """A user's two-task data: one set of rows with both labels, or a set of rows for each task.

    With one set, X1 and X2 are the same array.
    """

    X1: np.ndarray  #: float32 [rows1, inputs]
    Y1: np.ndarray  #: float32 [rows1, tasks[0]]
    X2: np.ndarray  #: float32 [rows2, inputs]
    Y2: np.ndarray  #: float32 [rows2, tasks[1]]

    @property
    def one_set(self) -> bool:
        """True when every row has both labels, so that the tasks can be trained jointly."""
        return self.X1 is self.X2

    @property
    def inputs(self) -> int:
        """Columns of X."""
        return self.X1.shape[1]

    @property
    def tasks(self) -> Tuple[int, int]:
        """Columns of Y1 and of Y2."""
        return self.Y1.shape[1], self.Y2.shape[1]

    def need_one_set(self) -> None:
        """Raises InputError unless the tasks can be trained jointly."""
        if not self.one_set:
            raise InputError(
                "data: two sets of rows (X1, Y1 and X2, Y2), but joint training needs both labels "
                "of every row. Give X, Y1, Y2 with the same rows, or train alternately."
            )


def data_draw(data: Data, rng: np.random.RandomState, batch: Optional[int] = None) -> Draw:
    """A user's data: all three arrays from one set; of two sets only the task's own.

    Args:
      data: From `load_data` or `make_data`.
      rng: Picks the rows.
      batch: Rows a step, picked without replacement; None feeds all rows in their order.

    Raises:
      InputError: batch is not between 1 and the rows there are. The draw raises it when the joint
        task is wanted of two separate sets.
    """
    rows = (len(data.X1), len(data.X2))
    if batch is not None and not 1 <= batch <= min(rows):
        raise InputError(
            f"batch: {batch!r}, but should be from 1 to {min(rows)}, the rows of the data. "
            "Ask for a smaller batch or leave it out to feed all rows."
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


def load_data(path: str) -> Data:
    """Reads a user's data from an .npz file, without pickle.

    Args:
      path: Holds X, Y1, Y2 (same rows), or X1, Y1, X2, Y2 (rows for each task).

    Raises:
      InputError: The file is not there, not a readable .npz, or its arrays are not as above.
    """
    should = "an .npz file with X, Y1, Y2 (same rows), or X1, Y1, X2, Y2"
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("a single array")
        with loaded as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; should be {should}.") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy takes any foreign file for a pickle, and recommends to trust it.
        reason = "not an .npz file, or pickled objects" if "pickle" in str(error) else error
        raise InputError(
            f"{path}: cannot be read ({reason}); should be {should}, numbers only, no pickled "
            "objects. Write it again with np.savez."
        ) from error
    return make_data(arrays, where=f"{path}: ")


def make_data(arrays: Dict[str, Any], where: str = "") -> Data:
    """Checks a user's arrays and casts them to float32.

    Args:
      arrays: X, Y1, Y2 (same rows), or X1, Y1, X2, Y2.
      where: Opens the error messages.

    Raises:
      InputError: An array is missing, foreign, not numbers, not 2-D, empty, not finite, or does
        not fit the others.
    """
    names = set(arrays)
    if names != {"X", "Y1", "Y2"} and names != {"X1", "Y1", "X2", "Y2"}:
        raise InputError(
            f"{where}the arrays are {', '.join(sorted(names)) or 'none'}, but should be X, Y1, Y2 "
            "(same rows), or X1, Y1, X2, Y2 (rows for each task). Rename or add arrays."
        )
    checked = {name: as_float32(where + name, arrays[name]) for name in sorted(names)}
    one_set = "X" in names
    X1, X2 = (checked["X"], checked["X"]) if one_set else (checked["X1"], checked["X2"])
    for x_name, x, y_name in (
        ("X" if one_set else "X1", X1, "Y1"),
        ("X" if one_set else "X2", X2, "Y2"),
    ):
        if len(x) != len(checked[y_name]):
            raise InputError(
                f"{where}{x_name} has {len(x)} rows, but {y_name} has {len(checked[y_name])}; "
                "each row of one belongs to the same row of the other. Give them the same rows."
            )
    if X1.shape[1] != X2.shape[1]:
        raise InputError(
            f"{where}X1 has {X1.shape[1]} columns, but X2 has {X2.shape[1]}; both go through the "
            "same shared layer. Give them the same columns."
        )
    return Data(X1, checked["Y1"], X2, checked["Y2"])


def checked(
    batch: Batch, shapes: Mapping[str, Sequence[Optional[int]]], where: str
) -> Dict[str, np.ndarray]:
    """Checks one batch against the graph's placeholders.

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


def as_float32(where: str, value: Any, shape: Optional[Sequence[Optional[int]]] = None) -> Any:
    """Casts one array to what the placeholder takes, or says why it cannot be fed.

    TensorFlow itself casts strings and complex numbers in silence, turns 1e300 into infinity, and
    lets one NaN ruin every weight.

    Args:
      where: Names the array in the error message.
      value: Numbers (bool, integer or float), two dimensions, at least one row and column.
      shape: The placeholder's; None in it takes any size, None for it any two.

    Returns:
      float32 array, not copied when it is one already.

    Raises:
      InputError: As described.
    """
    array = _as_array(where, value)
    expected = (None, None) if shape is None else tuple(shape)
    fits = array.ndim == len(expected) and all(
        size in (None, actual) for size, actual in zip(expected, array.shape)
    )
    if not fits:
        should = "two dimensions" if shape is None else _shape_text(expected)
        raise InputError(
            f"{where} is {array.dtype} {_shape_text(array.shape)}, but should be {should}. "
            "Change the data, or build the graph with other sizes."
        )
    if array.size == 0:
        raise InputError(
            f"{where} is empty, {_shape_text(array.shape)}, but should have at least one row and "
            "column."
        )
    cast = array
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):
            cast = array.astype(np.float32)
    # One product is the cheapest look at every number (and vdot does not warn of an overflow);
    # only a doubtful array is looked into.
    if not math.isfinite(np.vdot(cast, cast)):
        _refuse_non_finite(where, array, cast)
    return cast


def check_steps(steps: Any) -> None:
    """Raises InputError unless steps is a whole number of at least 1."""
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise InputError(f"steps: {steps!r}, but should be a whole number of at least 1.")


def _as_array(where: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:  # ragged lists, in newer NumPy
        raise InputError(
            f"{where} has rows of different lengths, but should be a full array. "
            "Give every row the same number of columns."
        ) from error
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{where} is an array of {array.dtype}, but should be numbers (bool, integer or "
            "float). Convert it yourself, for example with array.astype('float32')."
        )
    return array


def _refuse_non_finite(where: str, array: np.ndarray, cast: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(cast))
    if len(bad) == 0:
        return
    index = tuple(int(i) for i in bad[0])
    value = array[index]
    what = "too large for float32" if np.isfinite(value) else "not a finite number"
    raise InputError(
        f"{where}[{', '.join(map(str, index))}] is {value}, {what}"
        f"{f' ({len(bad)} such values)' if len(bad) > 1 else ''}; one of them would ruin every "
        "weight. Remove or scale it."
    )


def _shape_text(shape: Sequence[Optional[int]]) -> str:
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"
