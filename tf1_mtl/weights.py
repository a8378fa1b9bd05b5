"""Reads and writes the weights of a trained model, by their names in the graph. NumPy only."""

from typing import Any, Dict, Mapping, NamedTuple, Optional, Set, Tuple

import numpy as np

from tf1_mtl.data import as_float32
from tf1_mtl.errors import InputError
from tf1_mtl.npz import LIMIT_MB, read_npz, write_npz

NAMES = ("share_W", "share_Y1", "share_Y2")
_NUMBERS = ("seed", "step")


class Weights(NamedTuple):
    """The weights of a model, and the run that they are from."""

    share_W: np.ndarray  #: float32 [inputs, shared]
    share_Y1: np.ndarray  #: float32 [shared, tasks[0]]
    share_Y2: np.ndarray  #: float32 [shared, tasks[1]]
    seed: Optional[int] = None  #: of the run; None if it is not known
    step: Optional[int] = None  #: the steps trained; None if they are not known

    @property
    def inputs(self) -> int:
        """Returns the columns of X."""
        return self.share_W.shape[0]

    @property
    def tasks(self) -> Tuple[int, int]:
        """Returns the columns of Y1 and of Y2."""
        return self.share_Y1.shape[1], self.share_Y2.shape[1]

    @property
    def sizes(self) -> Dict[str, Any]:
        """Returns the arguments of `build_graph` for a model of this size."""
        return {"inputs": self.inputs, "shared": self.share_W.shape[1], "tasks": self.tasks}


def make_weights(arrays: Mapping[str, Any], where: str = "") -> Weights:
    """Checks weights and casts them to float32.

    Args:
      arrays: share_W, share_Y1, share_Y2; perhaps seed and step (whole numbers) and sizes (inputs,
        shared and both tasks).
      where: Opens the error messages.

    Raises:
      InputError: An array is missing, foreign, not numbers, not finite, or does not fit the others.
    """
    _check_names(set(arrays), where)
    weights = Weights(*(as_float32(where + name, arrays[name]) for name in NAMES))
    shared = weights.share_W.shape[1]
    for name in NAMES[1:]:
        rows = len(getattr(weights, name))
        if rows != shared:
            raise InputError(
                f"{where}{name} has {rows} rows, but should have {shared}, the columns of share_W. "
                "Give weights of one model."
            )
    sizes = [weights.inputs, shared, *weights.tasks]
    given = np.asarray(arrays.get("sizes", sizes)).tolist()
    if given != sizes:
        raise InputError(
            f"{where}sizes are {given!s:.80}, but should be {sizes}, those of the weights. Give "
            "weights of one model."
        )
    numbers: Any = {name: _whole(where + name, arrays[name]) for name in _NUMBERS if name in arrays}
    return weights._replace(**numbers)


def load_weights(path: str, limit_mb: float = LIMIT_MB) -> Weights:
    """Reads weights that `save_weights` wrote, or others of these names. No pickle is read.

    Args:
      path: An .npz file; `make_weights` says what it holds.
      limit_mb: Megabytes that the arrays may take.

    Raises:
      InputError: The file is not there, not a whole .npz, too large, or its arrays are not as
        above.
    """
    where = f"{path}: "
    should = "an .npz file with share_W, share_Y1 and share_Y2, as --save writes it"
    arrays = read_npz(path, should, lambda names: _check_names(names, where), limit_mb)
    return make_weights(arrays, where)


def save_weights(path: str, weights: Weights) -> None:
    """Writes weights with their sizes, seed and step into an .npz file, all of it or nothing.

    Raises:
      InputError: It cannot be written.
    """
    known = {name: value for name, value in weights._asdict().items() if value is not None}
    sizes = [weights.inputs, weights.share_W.shape[1], *weights.tasks]
    write_npz(path, {**known, "sizes": np.array(sizes)})


def _check_names(names: Set[str], where: str) -> None:
    missing = sorted(set(NAMES) - names)
    foreign = sorted(f"{name:.40}" for name in names - {*NAMES, *_NUMBERS, "sizes"})
    if missing or foreign:
        lack = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        problem = lack if missing else f"{foreign[0]!r} is foreign"
        raise InputError(
            f"{where}{problem}, but the arrays should be {', '.join(NAMES)}, and perhaps sizes, "
            "seed and step. Give a file that --save wrote."
        )


def _whole(where: str, value: Any) -> int:
    array = np.asarray(value)
    if array.shape != () or array.dtype.kind not in "iu" or array < 0:
        raise InputError(
            f"{where} is {array.dtype} {list(array.shape)}, but should be one whole number of at "
            "least 0. Give a file that --save wrote."
        )
    return int(array)
