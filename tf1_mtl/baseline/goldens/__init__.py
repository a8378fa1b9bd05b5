"""Reads the goldens: recordings made on a real TensorFlow 1.15.5, kept in the package.

`tests/oracle` records them; each manifest says what recorded it and what it exposes.
"""

import functools
import os
from typing import Tuple

from tf1_mtl.baseline.recordings import Recording, load_recording
from tf1_mtl.errors import InputError

_HERE = os.path.dirname(os.path.abspath(__file__))


def golden_names() -> Tuple[str, ...]:
    """Returns the names of all goldens, sorted."""
    return tuple(sorted(name[:-4] for name in os.listdir(_HERE) if name.endswith(".npz")))


@functools.lru_cache(maxsize=None)
def load_golden(name: str) -> Recording:
    """Reads one golden.

    Args:
      name: One of `golden_names()`.

    Returns:
      The recording, with read-only arrays. Each call returns the same object.

    Raises:
      InputError: There is no such golden, or its file is damaged.
    """
    if name not in golden_names():
        raise InputError(
            f"golden: {name!r}, but should be one of {', '.join(golden_names())}. Choose one."
        )
    return load_recording(os.path.join(_HERE, name + ".npz"))
