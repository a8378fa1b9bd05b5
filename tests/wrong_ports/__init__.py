"""Holds wrong ports of the article, as people write them, and correct ones that look different.

They were written without a look at how the check diagnoses. Each `Entry` states in plain words what
is wrong, and in `answers` what a right diagnosis names: kinds of edits and their places.
"""

from . import correct, feeds, forward, frameworks, gradients, losses, optimizers, runs, several
from . import state as state_of_optimizers
from .entry import KINDS, Edit, Entry, edit, named_rightly, names

_MODULES = (feeds, forward, losses, gradients, optimizers, state_of_optimizers, runs, several)
WRONG = tuple(entry for module in _MODULES for entry in module.ENTRIES) + frameworks.WRONG
CORRECT = correct.ENTRIES + frameworks.CORRECT

__all__ = ["CORRECT", "KINDS", "WRONG", "Edit", "Entry", "edit", "named_rightly", "names"]
