"""Defines the operations that the evaluator knows, in a few lines of NumPy each.

table         the table itself, and how a function is registered in it
arithmetic    arithmetic, comparisons, reductions, products of matrices
functions     functions of one variable and their gradients
structure     constants, shapes, new tensors, diagonals
slices        joins, slices, paddings: functions that move elements
indexing      gathers, scatters, segments, sorting
windows       convolutions and pooling
neural        biases, softmax and cross entropy, normalization
updates       assignments and scatters
optimizers    the rules of optimizers
control_flow  conditions, loops, calls of functions
sequences     stacks, tensor arrays and tensor lists
"""

from tf1_mtl.baseline.operations import (  # noqa: F401  importing a module fills the table
    arithmetic,
    control_flow,
    functions,
    indexing,
    neural,
    optimizers,
    sequences,
    slices,
    structure,
    updates,
    windows,
)
from tf1_mtl.baseline.operations.table import OPERATIONS as OPERATIONS
from tf1_mtl.baseline.operations.table import Operation as Operation
from tf1_mtl.baseline.operations.table import Variable as Variable
