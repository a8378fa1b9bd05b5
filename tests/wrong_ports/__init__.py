"""Holds wrong ports of the article, as people write them, and correct ones that look different.

They were written without a look at how the check diagnoses. Each is entered with what a right
diagnosis names: kinds of edits, their places and their values. `entry.py` says how.
"""

from . import correct, feeds, forward, frameworks, gradients, losses, optimizers, runs, several
from . import state as state_of_optimizers
from .entry import ENTRIES, KINDS, Edit, Entry, edit, named_rightly, names

#: Each enters its ports when it is imported.
MODULES = (
    *(feeds, forward, losses, gradients, optimizers, state_of_optimizers, runs, several),
    *(correct, frameworks),
)
WRONG = tuple(entry for entry in ENTRIES if not entry.conforms)
CORRECT = tuple(entry for entry in ENTRIES if entry.conforms)

__all__ = ["CORRECT", "KINDS", "WRONG", "Edit", "Entry", "edit", "named_rightly", "names"]
