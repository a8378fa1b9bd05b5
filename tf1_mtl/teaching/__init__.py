"""Explains what one Session.run needs, reads, writes and runs: in words, pictures, TensorBoard."""

from tf1_mtl.teaching.anatomy import explain
from tf1_mtl.teaching.explanation import Explanation

__all__ = ["Explanation", "explain"]
