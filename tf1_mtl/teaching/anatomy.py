"""Explains what one `Session.run` needs, reads, writes and runs: planned, and measured.

*Planned* is read off the graph: backward from the fetches, up to what is fed. *Measured* is what a
real run executed, from a full trace of TensorFlow. The graph optimizer and constant folding are
switched off for it, so that the nodes are those of the graph as it is written.
"""

import contextlib
import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.graph import build_graph
from tf1_mtl.teaching.explanation import Explanation
from tf1_mtl.teaching.planning import AnyGraph, Element, Names, plan

Feeds = Union[Mapping[Any, Any], Iterable[Any]]
Values = List[Tuple[tf.Variable, np.ndarray]]  # TensorFlow 2 variables cannot be dictionary keys


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
    elements = names.find_all(fetches)
    feed_dict = _feed_dict(names, feeds)
    values = variable_values(names.graph, session)
    measured = run_traced(names.graph, values, elements, feed_dict, as_written=True)
    optimized = run_traced(names.graph, values, elements, feed_dict, as_written=False)
    removed = None
    if measured.nodes is not None and optimized.nodes is not None:
        removed = tuple(name for name in measured.nodes if name not in optimized.nodes)
    return plan(names, elements, feed_dict)._replace(
        measured=measured.nodes,
        error=measured.error,
        changed=measured.changed,
        removed_by_optimizer=removed,
    )


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


def _feed_dict(names: Names, feeds: Optional[Feeds]) -> Dict[tf.Tensor, Any]:
    if feeds is None:
        feeds = names.placeholders()
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


def _sentence(error: tf.errors.OpError) -> str:
    """Returns the sentence of an error, without the file and line where the node was made."""
    lines = error.message.strip().splitlines()
    # It is before the name of the node, which is written "[[node X ...]]" or "[[{{node X}}]]".
    nodes = [number for number, line in enumerate(lines) if line.startswith("\t [[")]
    return re.sub(r"^\s*\(0\) [\w ]+: ", "", lines[nodes[0] - 1] if nodes else lines[0])
