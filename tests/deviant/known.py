"""The known deviations: an identifier, what it means, and the strengths at which it is tried.

Identifiers are stable: a report, a script or an issue may quote them. A deviation with a `fitted`
rule is found at other strengths too, by fitting that rule to what the port did.
"""

from typing import Iterator, NamedTuple

from deviant.deviation import Deviation, Settings
from deviant.known_model import MODEL
from deviant.known_optimizers import OPTIMIZER

KNOWN = MODEL + OPTIMIZER


class Cause(NamedTuple):
    """A deviation at one strength."""

    id: str
    words: str
    settings: Settings


def at(deviation: Deviation, settings: Settings) -> Cause:
    """The deviation at this strength."""
    words = {k: " and ".join(v) if k in ("bias", "frozen") else v for k, v in settings.items()}
    return Cause(deviation.id, deviation.words.format(**words), settings)


def causes() -> Iterator[Cause]:
    """Every known deviation at every listed strength."""
    for deviation in KNOWN:
        for settings in deviation.strengths:
            yield at(deviation, settings)
