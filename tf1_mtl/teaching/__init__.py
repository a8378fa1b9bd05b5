"""Explains what one Session.run needs, reads, writes and runs: in words, pictures, TensorBoard."""

from typing import TYPE_CHECKING

from tf1_mtl.lazy import load_on_first_use

if TYPE_CHECKING:
    from tf1_mtl.teaching.anatomy import explain
    from tf1_mtl.teaching.explanation import Explanation

__all__ = ["Explanation", "explain"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_on_first_use(
        __name__, {"explain": "anatomy", "Explanation": "explanation"}
    )
