"""Does a port that deviates do the same a second time?"""

from typing import Any, List

import numpy as np

from tf1_mtl.baseline.deviations import BoundedDeviant
from tf1_mtl.baseline.judgement import Array, Divergence, Steps, judge
from tf1_mtl.baseline.play import Played, Port, play
from tf1_mtl.baseline.recordings import Recording
from tf1_mtl.baseline.reference import WEIGHTS
from tf1_mtl.baseline.stages import LONG_RUN, RETURNED

# By chance a port that draws random numbers may be off by nearly the same once more.
TIMES = 2


def repeats(port: Port, golden: Recording, found: Divergence) -> bool:
    """Plays the diverging case again, up to where it diverged, and looks there.

    A port that sums in another order each time is off by almost the same there, since all rounding
    stays far within the tolerance; one that draws random numbers is not.

    Args:
      port: As for `check`.
      golden: The case's.
      found: What its first play showed.
    """
    golden = golden._replace(runs=golden.runs[: found.step + 1])
    return all(_is_again(play(port, found.case, golden), found) for _ in range(TIMES))


def _is_again(again: Played, found: Divergence) -> bool:
    if found.stage == RETURNED or found.tolerance is None:
        other = judge(again, {})
        return other is not None and _says(other) == _says(found)
    off, off_again = found.obtained - found.expected, _off(again, found)
    if not np.isfinite(off):
        return not np.isfinite(off_again)
    return abs(off_again - off) <= min(2 * found.tolerance, abs(off) / 2)


def _says(found: Divergence) -> str:
    return f"{found.where}: {found.obtained}"


def _off(played: Played, found: Divergence) -> float:
    """How far a value is off, where another play of the port diverged."""
    initial = played.golden.sessions[0].initial
    steps = Steps(played, BoundedDeviant(*(initial[name] for name in WEIGHTS)), False)
    arrays: List[Array] = []
    for step in range(min(found.step + 1, len(played.losses))):
        arrays = steps.arrays(step)
    for array in arrays:
        if array.name == found.array and found.step < len(played.losses):
            expected: Any = array.recorded if found.stage == LONG_RUN else array.expected.value
            return float(array.obtained[found.element] - expected[found.element])
    return np.nan  # it did not come so far
