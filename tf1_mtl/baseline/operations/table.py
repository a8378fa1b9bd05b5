"""Holds the table of operations, and registers functions in it.

A float tensor is an `ErrorBounded`, or a plain float64 array if only values are asked for. An
integer, boolean or string tensor is a plain array. It is an `ErrorBounded` of precision `WHOLE` if
rounding leaves it open. A function takes the node and the values of its inputs, and returns its
output, or a tuple of outputs. It never changes an array in place.

To add an operation, write a function in the module that fits and register it under the name of
TensorFlow.
"""

from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.error_bounds import ErrorBounded, value_of
from tf1_mtl.baseline.recorded_graph import Node
from tf1_mtl.errors import InputError

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]


class Operation(NamedTuple):
    """Describes one line of the table."""

    function: Function  #: (node, *inputs) -> output or tuple of outputs
    variables: int = 0  #: how many of the first inputs it takes as `Variable`, not as values
    writes: bool = False  #: whether it may change them
    calls: bool = False  #: whether it takes, after the node, a function that calls a function


class _Dead:
    """Is what a branch gives that is not taken."""

    def __repr__(self) -> str:
        return "DEAD"


DEAD = _Dead()


class _DeadOutputs(tuple):
    def __getitem__(self, index: Any) -> Any:
        return DEAD


DEAD_OUTPUTS = _DeadOutputs()  #: of an operation that did not run


class Variable:
    """Stands for a variable during one run: a name in the state that the run may change."""

    __slots__ = ("is_resource", "name", "state")

    def __init__(self, name: str, state: Dict[str, Any], is_resource: bool = False) -> None:
        self.name, self.state, self.is_resource = name, state, is_resource

    @property
    def value(self) -> Any:
        if self.name not in self.state:
            raise InputError(
                f"variable {self.name!r}: has no value; should be given. Pass all variables that "
                "the recording holds."
            )
        return self.state[self.name]

    @value.setter
    def value(self, value: Any) -> None:
        self.state[self.name] = value


OPERATIONS: Dict[str, Operation] = {}


def gives(*names: str) -> Decorator:
    """Registers a function that computes its outputs from its inputs."""
    return _registered(names)


def refers(variables: int, *names: str) -> Decorator:
    """Registers a function that takes its first inputs as they are, also if they are variables."""
    return _registered(names, variables=variables)


def updates(variables: int, *names: str) -> Decorator:
    """Registers a function that changes some of its first inputs, which are variables."""
    return _registered(names, variables=variables, writes=True)


def calls(*names: str) -> Decorator:
    """Registers a function that calls functions of the graph."""
    return _registered(names, variables=ALL, calls=True)


ALL = 1_000_000  #: inputs


def _registered(names: Tuple[str, ...], **how: Any) -> Decorator:
    def register(function: Function) -> Function:
        OPERATIONS.update(dict.fromkeys(names, Operation(function, **how)))
        return function

    return register


def moves(*names: str) -> Decorator:
    """Registers a function that moves the elements of its first input.

    It takes the node, an array and the other inputs. It is applied to values and errors alike.
    """

    def register(function: Function) -> Function:
        def move(node: Node, x: Any, *inputs: Any) -> Any:
            return eb.structural(lambda a: function(node, a, *inputs), x)

        return gives(*names)(move)

    return register


def is_tensor(x: Any) -> bool:
    """Returns whether a value is a tensor, not a variable, a list or what a handle means."""
    return isinstance(x, (ErrorBounded, np.ndarray, np.generic))


def all_unknown(outputs: Iterable[Any]) -> Tuple[Any, ...]:
    """Returns outputs with infinite errors. Anything but a tensor is unchanged."""
    return tuple(eb.unknown(x) if is_tensor(x) else x for x in outputs)


def ints(numbers: Any) -> List[int]:
    """Returns a tensor of whole numbers as a list of them."""
    return [int(number) for number in np.ravel(eb.decided(numbers))]


def integer(number: Any) -> int:
    """Returns a tensor of one whole number as that number."""
    return ints(number)[0]


def axes_of(axes: Any, rank: int) -> Tuple[int, ...]:
    """Returns axes counted from the first one, each once, in order."""
    return tuple(sorted({axis % rank for axis in ints(axes)})) if rank else ()


def shape_of(x: Any) -> Tuple[int, ...]:
    return np.shape(value_of(x))


def is_float(x: Any) -> bool:
    """Returns whether a tensor holds floats."""
    return isinstance(x, ErrorBounded) or np.asarray(x).dtype.kind == "f"


def precision_named(node: Node, attribute: str) -> eb.Precision:
    """Returns the precision of the dtype that an attribute names."""
    return eb.PRECISIONS.get(node.attributes.get(attribute, ""), eb.SINGLE)


def is_channels_first(node: Node) -> bool:
    """Returns whether the channels of images come before their axes, not last."""
    return str(node.attributes.get("data_format", "NHWC")).startswith("NC")
