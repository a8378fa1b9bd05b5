"""What one Session.run needs, reads, writes and runs: in words, in pictures, in TensorBoard."""

from tf1_mtl.teaching.anatomy import explain
from tf1_mtl.teaching.explanation import Explanation

__all__ = ["Explanation", "explain"]
