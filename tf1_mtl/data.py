"""Reads and checks the arrays of a user, and casts them to what the placeholders take."""

import math
import numbers
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

import numpy as np

from tf1_mtl.errors import InputError
from tf1_mtl.npz import LIMIT_MB, read_npz

#: Of a learning rate, as float32 holds it: beyond them it would be 0 or infinite.
SMALLEST_RATE = float(np.finfo(np.float32).tiny)
LARGEST_RATE = float(np.finfo(np.float32).max)

_FLOAT32 = np.dtype(np.float32)


class Rows(NamedTuple):
    """Rows of a user to predict; a label that is not known is None. X1 and X2 may be the same."""

    X1: np.ndarray  #: float32 [rows1, inputs]
    Y1: Optional[np.ndarray]  #: float32 [rows1, tasks[0]]
    X2: np.ndarray  #: float32 [rows2, inputs]
    Y2: Optional[np.ndarray]  #: float32 [rows2, tasks[1]]


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
        """Returns True if every row has both labels, so that the tasks can be trained jointly."""
        return self.X1 is self.X2

    @property
    def inputs(self) -> int:
        """Returns the columns of X."""
        return self.X1.shape[1]

    @property
    def tasks(self) -> Tuple[int, int]:
        """Returns the columns of Y1 and of Y2."""
        return self.Y1.shape[1], self.Y2.shape[1]

    def need_one_set(self, where: str = "data") -> None:
        """Raises InputError, which begins with `where`, unless the tasks can be trained jointly."""
        if not self.one_set:
            raise InputError(
                f"{where}: two sets of rows (X1, Y1 and X2, Y2), but joint training needs both "
                "labels of every row. Give X, Y1, Y2 with the same rows, or train alternately."
            )


def is_whole(value: Any) -> bool:
    """Returns True for an integer of Python or NumPy; a bool is not an integer here."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def load_data(path: str, limit_mb: float = LIMIT_MB) -> Data:
    """Reads the data of a user from an .npz file, without pickle.

    Args:
      path: Holds X, Y1, Y2 (same rows), or X1, Y1, X2, Y2 (rows for each task).
      limit_mb: Megabytes that the arrays may take.

    Raises:
      InputError: The file is not there, not a whole .npz, too large, or its arrays are not as
        above.
    """
    should = "an .npz file with X, Y1, Y2 (same rows), or X1, Y1, X2, Y2"
    where = f"{path}: "
    arrays = read_npz(path, should, lambda names: _check_names(names, where), limit_mb)
    return make_data(arrays, where)


def load_rows(path: str, limit_mb: float = LIMIT_MB) -> Rows:
    """Reads rows, with their labels or without, from an .npz file. No pickle is read.

    Args:
      path: Holds what `load_data` takes; Y1 and Y2 may be missing.
      limit_mb: Megabytes that the arrays may take.

    Raises:
      InputError: As `load_data`.
    """
    where = f"{path}: "
    should = "an .npz file with X, or X1 and X2, and perhaps the labels Y1 and Y2"
    arrays = read_npz(path, should, lambda names: _check_names(names, where, False), limit_mb)
    return _make_rows(arrays, where)


def warnings_about(data: Data) -> List[str]:
    """Returns a sentence for each array of which the model can never learn a part."""
    return [
        f"{name} has {int(np.count_nonzero(labels < 0))} labels below zero, which the ReLU of its "
        "task layer never reaches. Shift or scale them."
        for name, labels in (("Y1", data.Y1), ("Y2", data.Y2))
        if labels.min() < 0
    ]


def make_data(arrays: Dict[str, Any], where: str = "") -> Data:
    """Checks the arrays of a user and casts them to float32.

    Args:
      arrays: X, Y1, Y2 (same rows), or X1, Y1, X2, Y2.
      where: Opens the error messages.

    Raises:
      InputError: An array is missing, foreign, not numbers, not 2-D, empty, not finite, or does
        not fit the others.
    """
    _check_names(set(arrays), where)
    return Data(*_make_rows(arrays, where))


def _make_rows(arrays: Dict[str, Any], where: str) -> Any:
    checked = {name: as_float32(where + name, arrays[name]) for name in sorted(arrays)}
    one_set = "X" in checked
    X1, X2 = (checked["X"], checked["X"]) if one_set else (checked["X1"], checked["X2"])
    for x_name, x, y_name in (
        ("X" if one_set else "X1", X1, "Y1"),
        ("X" if one_set else "X2", X2, "Y2"),
    ):
        if len(x) != len(checked.get(y_name, x)):
            raise InputError(
                f"{where}{x_name} has {len(x)} rows, but {y_name} has {len(checked[y_name])}; "
                "each row of one belongs to the same row of the other. Give them the same rows."
            )
    if X1.shape[1] != X2.shape[1]:
        raise InputError(
            f"{where}X1 has {X1.shape[1]} columns, but X2 has {X2.shape[1]}; both go through the "
            "same shared layer. Give them the same columns."
        )
    return Rows(X1, checked.get("Y1"), X2, checked.get("Y2"))


def need_columns(
    rows: Union[Rows, Data], inputs: int, tasks: Sequence[int], where: str, than: str
) -> None:
    """Raises InputError unless rows fit a model.

    Args:
      rows: What is to go through the model.
      inputs: Columns that X should have.
      tasks: Columns that Y1 and Y2 should have.
      where: Begins the message.
      than: Names in the message what has these columns.
    """
    x_name = "X" if rows.X1 is rows.X2 else "X1"
    for name, array, columns in (
        (x_name, rows.X1, inputs),
        ("Y1", rows.Y1, tasks[0]),
        ("Y2", rows.Y2, tasks[1]),
    ):
        if array is not None and array.shape[1] != columns:
            raise InputError(
                f"{where}: {name} has {array.shape[1]} columns, but should have {columns}, as "
                f"{than}. Give arrays that belong together."
            )


def _check_names(names: Set[str], where: str, labelled: bool = True) -> None:
    labels = {"Y1", "Y2"}
    given = names if labelled else names | labels
    if given in ({"X"} | labels, {"X1", "X2"} | labels):
        return
    shown = [f"{name:.40}" for name in sorted(names)]
    if len(shown) > 10:
        shown[10:] = [f"{len(shown) - 10} more"]
    raise InputError(
        f"{where}the arrays are {', '.join(shown) or 'none'}, but should be X, Y1, Y2 "
        "(same rows), or X1, Y1, X2, Y2 (rows for each task). "
        f"{'' if labelled else 'Y1 and Y2 may be missing. '}Rename or add arrays."
    )


def as_float32(where: str, value: Any, shape: Optional[Sequence[Optional[int]]] = None) -> Any:
    """Casts one array to what the placeholder takes, or says why it cannot be fed.

    TensorFlow itself casts strings in silence, complex numbers with no more than NumPy's warning,
    turns 1e300 into infinity, and lets one NaN ruin every weight.

    Args:
      where: Names the array in the error message.
      value: Numbers (bool, integer or float), two dimensions, at least one row and column.
      shape: The placeholder's; None in it takes any size, None for it any two.

    Returns:
      float32 array, not copied when it is one already.

    Raises:
      InputError: As described.
    """
    if _is_ready(value, shape):
        return value
    array = _as_array(where, value)
    expected = (None, None) if shape is None else tuple(shape)
    fits = array.ndim == len(expected) and all(
        size in (None, actual) for size, actual in zip(expected, array.shape)
    )
    if not fits:
        should = "two dimensions" if shape is None else shape_text(expected)
        advice = "Change the data, or build the graph with other sizes."
        if array.ndim == 1:
            advice = (
                "For one number a row take array.reshape(-1, 1). For classes take one-hot rows, "
                "np.eye(classes)[array]."
            )
        raise InputError(
            f"{where} is {array.dtype} {shape_text(array.shape)}, but should be {should}. {advice}"
        )
    if array.size == 0:
        raise InputError(
            f"{where} is empty, {shape_text(array.shape)}, but should have at least one row and "
            "column."
        )
    with np.errstate(over="ignore", under="ignore"):
        cast = array.astype(np.float32, copy=False)
    if not math.isfinite(np.vdot(cast, cast)):
        _refuse_non_finite(where, array, cast)
    return cast


def _is_ready(value: Any, shape: Optional[Sequence[Optional[int]]]) -> bool:
    """True for what can be fed as it is: in training nearly every array, so this look is short.

    One product is the cheapest look at every number, and vdot does not warn of an overflow.
    """
    return (
        type(value) is np.ndarray
        and value.dtype == _FLOAT32
        and value.shape == shape
        and math.isfinite(np.vdot(value, value))
    )


def _as_array(where: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:  # ragged lists, in newer NumPy
        raise InputError(
            f"{where} has rows of different lengths, but should be a full array. "
            "Give every row the same number of columns."
        ) from error
    if np.ma.is_masked(value):
        raise InputError(
            f"{where} has masked values, but should be numbers throughout. Leave those rows out, "
            "or fill them, for example with array.filled(0)."
        )
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
        f"{where}[{', '.join(map(str, index))}] is {value!s}, {what}"
        f"{f' ({len(bad)} such values)' if len(bad) > 1 else ''}; one of them would ruin every "
        "weight. Remove or scale it."
    )


def shape_text(shape: Sequence[Optional[int]]) -> str:
    """Returns a shape as messages and pictures show it, such as "[any, 10]"."""
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"
