"""Explains what one `Session.run` needs, reads, writes and runs: planned, and measured.

*Planned* is read off the graph: backward from the fetches, up to what is fed. *Measured* is what a
real run executed, from a full trace of TensorFlow. The graph optimizer and constant folding are
switched off for it, so that the nodes are those of the graph as it is written.
"""

import contextlib
import difflib
import itertools
import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.graph import build_graph
from tf1_mtl.teaching import groups
from tf1_mtl.teaching.explanation import Explanation
from tf1_mtl.walk import PLACEHOLDERS, VARIABLES, accesses, needed, variable_of

#: A graph, or a NamedTuple of handles with a field "graph", such as MultiTaskGraph.
AnyGraph = Union[tf.Graph, Tuple[Any, ...]]
Element = Union[tf.Operation, tf.Tensor]
Feeds = Union[Mapping[Any, Any], Iterable[Any]]
Values = List[Tuple[tf.Variable, np.ndarray]]  # TensorFlow 2 variables cannot be dictionary keys

_VALUE = "/Read/ReadVariableOp"  # after the name of a resource variable: the read that is fetched


def explain(
    fetches: Any,
    feeds: Optional[Feeds] = None,
    session: Optional[tf.Session] = None,
    graph: Optional[AnyGraph] = None,
) -> Explanation:
    """Explains one run of any v1 graph, and changes no weight by doing so.

    The measured runs happen in sessions of their own, into which the values of the variables are
    copied. So the session of the caller is only read. No node is added to the graph.

    Args:
      fetches: One fetch or a list, as for `Session.run`: tensors, operations, variables or names
        in the graph, such as "Adam_1" or "L2Loss:0". The name of a variable fetches its value,
        with or without ":0". With a NamedTuple of handles, such as `MultiTaskGraph`, the names of
        its fields can be used too, such as "Y1_op".
      feeds: Values by tensor or name. Or tensors or names alone, which get random values. None
        feeds every placeholder.
      session: A session on the graph, of which the run takes the values of the variables. None
        takes initial values.
      graph: None takes that of the session. Without a session it builds that of the article.

    Raises:
      InputError: A name is not in the graph (the message lists near ones), or a value does not
        fit its tensor. A run that fails in TensorFlow is explained, with its error.
    """
    if graph is None:
        graph = build_graph(np.random.RandomState(0)) if session is None else session.graph
    names = Names(graph)
    if session is not None and session.graph is not names.graph:
        raise InputError("session: of another graph. Open it on the graph to be explained.")
    elements = [names.find(fetch) for fetch in _as_list(fetches)]
    feed_dict = _feed_dict(names, feeds)
    ops = names.graph.get_operations()

    planned = needed(elements, feed_dict)
    # The placeholders that the fetches need, whether they are fed here or not.
    inside = [tensor for tensor in feed_dict if tensor.op.type not in PLACEHOLDERS]
    must = needed([e if isinstance(e, tf.Operation) else e.op for e in elements], inside)
    placeholders = [op for op in ops if op.type in PLACEHOLDERS]
    touches = [access for op in ops if op in planned for access in accesses(op)]
    reads = {access.variable for access in touches if access.reads}
    reads.update(filter(None, (variable_of(e) for e in elements if isinstance(e, tf.Tensor))))
    written_by: Dict[str, Tuple[str, ...]] = {}
    for access in touches:
        if access.writes:
            by = written_by.get(access.variable.name, ())
            written_by[access.variable.name] = (*by, access.op.name)

    values = variable_values(names.graph, session)
    measured = run_traced(names.graph, values, elements, feed_dict, as_written=True)
    optimized = run_traced(names.graph, values, elements, feed_dict, as_written=False)
    removed = None
    if measured.nodes is not None and optimized.nodes is not None:
        removed = tuple(name for name in measured.nodes if name not in optimized.nodes)
    return Explanation(
        fetches=tuple(names.spoken(element) for element in elements),
        feeds=tuple(names.spoken(tensor) for tensor in feed_dict),
        planned=tuple(op.name for op in ops if op in planned),
        measured=measured.nodes,
        error=measured.error,
        must_feed=tuple(op.name for op in placeholders if op in must),
        not_needed=tuple(op.name for op in placeholders if op not in must),
        variables=tuple(op.name for op in ops if op.type in VARIABLES),
        reads=tuple(op.name for op in ops if op in reads),
        writes=tuple(op.name for op in ops if op.name in written_by),
        written_by=written_by,
        unordered=_unordered(names.graph, written_by, feed_dict),
        changed=measured.changed,
        groups=groups.group(names.graph, names.article),
        removed_by_optimizer=removed,
    )


class Names:
    """Finds the elements of a graph by their names in the graph, or in the article."""

    def __init__(self, graph: AnyGraph) -> None:
        self.fields: Dict[str, Any] = {}
        self.graph: tf.Graph = getattr(graph, "graph", graph)
        if graph is not self.graph:
            self.fields = {k: v for k, v in graph._asdict().items() if k != "graph"}  # type: ignore
        #: {"Adam_1": "Y1_op", "L2Loss": "Y1_Loss", ...}. Variables keep their names.
        self.article: Dict[str, str] = {
            getattr(element, "op", element).name: name
            for name, element in self.fields.items()
            if isinstance(element, (tf.Tensor, tf.Operation))
        }

    def find(self, name: Any) -> Element:
        """Returns the operation or tensor of a name, or the tensor of the value of a variable.

        Args:
          name: A name, or what TensorFlow can fetch.

        Raises:
          InputError: The name is not in the graph. The message lists near names.
        """
        wanted = self.fields.get(name, name) if isinstance(name, str) else name
        try:
            element = self.graph.as_graph_element(wanted)
            op = getattr(element, "op", element)
            return self._value(op) if op.type in VARIABLES else element
        except (KeyError, ValueError, TypeError) as error:
            nodes = (op.name for op in self.graph.get_operations())
            known = list(dict.fromkeys([*self.fields, *nodes]))
            near = difflib.get_close_matches(str(name), known, n=5, cutoff=0.5)
            hint = f"Near: {', '.join(near)}" if near else f"There are {', '.join(known[:10])}, ..."
            raise InputError(
                f"{name!r}: not in the graph, but should be an operation, a tensor or a name "
                f"of one. {hint}."
            ) from error

    def spoken(self, element: Element) -> str:
        """Returns the name of an element in the article, or its own name if it is not there."""
        op = element if isinstance(element, tf.Operation) else element.op
        if op.name.endswith(_VALUE) and op.type == "ReadVariableOp":
            return op.name[: -len(_VALUE)]
        own = element.name if len(op.outputs) > 1 else op.name
        return self.article.get(op.name, own)

    def _value(self, variable: tf.Operation) -> tf.Tensor:
        """Returns what `session.run(variable)` fetches."""
        if variable.type != "VarHandleOp":
            return variable.outputs[0]
        return self.graph.as_graph_element(variable.name + _VALUE + ":0")


class Traced(NamedTuple):
    """Holds what one real run did, or the error that it ended with."""

    nodes: Optional[Tuple[str, ...]]  #: the nodes of the graph that ran, in its order
    changed: Optional[Tuple[str, ...]]  #: the variables whose bits differ afterwards
    error: Optional[str]


def run_traced(
    graph: tf.Graph,
    values: Values,
    fetches: Sequence[Element],
    feed_dict: Mapping[tf.Tensor, Any],
    as_written: bool,
) -> Traced:
    """Runs once in a new session whose variables have these values, and returns what ran.

    Args:
      graph: The graph of the new session.
      values: From `variable_values`.
      fetches: Operations and tensors.
      feed_dict: Values by tensor.
      as_written: True switches the graph optimizer and constant folding off. False leaves the
        default of TensorFlow.
    """
    with tf.Session(graph=graph, config=cpu_config(as_written)) as session:
        # As Variable.load does: the initializers run with other values fed.
        loads = {variable.initializer.inputs[1]: value for variable, value in values}
        session.run([variable.initializer for variable, _ in values], loads)
        try:
            ran = trace(session, fetches, feed_dict)
        except tf.errors.OpError as error:
            return Traced(None, None, _sentence(error))
        except (ValueError, TypeError) as error:
            raise InputError(f"feeds: {error}. Feed what fits the tensor.") from error
        after = session.run([variable for variable, _ in values])
    changed = [
        variable.op.name
        for (variable, before), value in zip(values, after)
        if value.tobytes() != before.tobytes()
    ]
    return Traced(ran, tuple(changed), None)


def cpu_config(as_written: bool) -> tf.ConfigProto:
    """Returns settings of a session on the CPU. `run_traced` explains `as_written`."""
    # Which nodes run does not depend on the device, and the CPU is always there.
    config = tf.ConfigProto(allow_soft_placement=True, device_count={"GPU": 0})
    if as_written:
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        config.graph_options.optimizer_options.opt_level = tf.OptimizerOptions.L0
    return config


def trace(
    session: tf.Session, fetches: Sequence[Element], feed_dict: Mapping[tf.Tensor, Any]
) -> Tuple[str, ...]:
    """Runs once in this session, which is a real step, and returns the nodes that ran.

    Returns:
      Names of nodes of the graph, in its order. What TensorFlow adds for a run of its own
      (`_SOURCE`, and `_arg_X_0_0` where X is fed) is left out.
    """
    metadata = tf.RunMetadata()
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    session.run(list(fetches), dict(feed_dict), options=options, run_metadata=metadata)
    ran = {node.node_name for dev in metadata.step_stats.dev_stats for node in dev.node_stats}
    return tuple(op.name for op in session.graph.get_operations() if op.name in ran)


def variable_values(graph: tf.Graph, session: Optional[tf.Session]) -> Values:
    """Returns the values of initialized variables, or initial values without a session."""
    variables = graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES) + graph.get_collection(
        tf.GraphKeys.LOCAL_VARIABLES
    )
    if session is None:
        with tf.Session(graph=graph) as fresh:
            fresh.run([variable.initializer for variable in variables])
            return variable_values(graph, fresh)
    try:
        return list(zip(variables, session.run(variables)))
    except tf.errors.FailedPreconditionError:
        values = []
    for variable in variables:
        # One that is not initialized is not in the copy either.
        with contextlib.suppress(tf.errors.FailedPreconditionError):
            values.append((variable, session.run(variable)))
    return values


def _unordered(
    graph: tf.Graph, written_by: Mapping[str, Tuple[str, ...]], fed: Iterable[tf.Tensor]
) -> Dict[str, Tuple[str, ...]]:
    """Returns the variables with writers that may run in any order, and those writers."""
    several = {name: ops for name, ops in written_by.items() if len(ops) > 1}
    before = {
        name: {op.name for op in needed([graph.get_operation_by_name(name)], fed)}
        for ops in several.values()
        for name in ops
    }
    return {
        variable: ops
        for variable, ops in several.items()
        if any(
            one not in before[other] and other not in before[one]
            for one, other in itertools.combinations(ops, 2)
        )
    }


def _feed_dict(names: Names, feeds: Optional[Feeds]) -> Dict[tf.Tensor, Any]:
    if feeds is None:
        feeds = [op.outputs[0] for op in names.graph.get_operations() if op.type in PLACEHOLDERS]
    rng = np.random.RandomState(0)
    feed_dict = {}
    for feed in [feeds] if isinstance(feeds, str) else feeds:
        element = names.find(feed)
        tensor = element.outputs[0] if isinstance(element, tf.Operation) else element
        given = feeds[feed] if isinstance(feeds, Mapping) else _made_up(rng, tensor)
        feed_dict[tensor] = given
    return feed_dict


def _made_up(rng: np.random.RandomState, tensor: tf.Tensor) -> Any:
    """Returns random numbers as the article feeds them: uniform on [0, 10). Unknown sizes are 1."""
    shape = [] if tensor.shape.ndims is None else [size or 1 for size in tensor.shape.as_list()]
    dtype = tensor.dtype.base_dtype
    if dtype == tf.string:
        return np.full(shape, "", dtype=object)
    if not (dtype.is_floating or dtype.is_integer or dtype.is_complex or dtype.is_bool):
        raise InputError(f"feeds: {tensor.name} is {dtype.name}. Give its value: {{name: value}}.")
    scale = 10 if dtype.is_floating else 0
    return np.asarray(rng.rand(*shape) * scale, dtype.as_numpy_dtype)


def _as_list(one_or_more: Any) -> List[Any]:
    items = list(one_or_more) if isinstance(one_or_more, (list, tuple)) else [one_or_more]
    if not items:
        raise InputError("fetches: none, but a run needs at least one. Give one.")
    return items


def _sentence(error: tf.errors.OpError) -> str:
    """Returns the sentence of an error, without the file and line where the node was made."""
    lines = error.message.strip().splitlines()
    # It is before the name of the node, which is written "[[node X ...]]" or "[[{{node X}}]]".
    nodes = [number for number, line in enumerate(lines) if line.startswith("\t [[")]
    return re.sub(r"^\s*\(0\) [\w ]+: ", "", lines[nodes[0] - 1] if nodes else lines[0])
