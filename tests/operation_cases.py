"""Evaluates operations beside TensorFlow: many cases in one graph and one session.

A case is a function of tensors. It is run on its inputs, and on inputs that are off by as much as
their errors say. Both results must lie within the bounds, for the gradients too.
"""

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.baseline.error_bounds import ErrorBounded, error_of, value_of
from tf1_mtl.baseline.evaluator import Plan
from tf1_mtl.baseline.graph_def import recorded_graph
from tf1_mtl.baseline.recorded_graph import canonical

VERSION = tuple(map(int, tf.__version__.split(".")[:2]))
OFF = 1e-3  # how far inputs are off


def normal_numbers(rng):
    """Returns a function that draws a float32 array of a shape."""
    return lambda *shape: np.asarray(rng.randn(*shape), np.float32)


class Case:
    """One function of tensors, and the arrays that it is run on."""

    def __init__(
        self, name, function, *inputs, gradient=True, loose=False, ties=False, since=(0, 0)
    ):
        """Describes a case.

        Args:
          name: Of the test.
          function: From placeholders to a tensor or several.
          inputs: Arrays. Lists become float32 arrays.
          gradient: Whether to take the gradients of the float outputs, too.
          loose: The bound may be wide, since TensorFlow is not accurate, or cancels digits.
          ties: Equal inputs are copies of one number, which the evaluator takes for granted; so
            they are not moved apart.
          since: The first version of TensorFlow that has the operation.
        """
        self.name, self.function, self.gradient = name, function, gradient
        self.loose, self.ties, self.since = loose, ties, since
        self.inputs = [np.asarray(x, np.float32) if isinstance(x, list) else x for x in inputs]


class Results:
    """What TensorFlow and the evaluator gave for all cases."""

    def __init__(self, cases):
        graph = tf.Graph()
        feeds, fetches = {}, {}
        with graph.as_default():
            for case in cases:
                with tf.name_scope(case.name):
                    placed = [tf.placeholder(x.dtype, x.shape) for x in case.inputs]
                    feeds.update(zip((canonical(p.name) for p in placed), case.inputs))
                    fetches[case.name] = _tensors(case, placed)
        flat = [tensor for tensors in fetches.values() for tensor in tensors]
        self._names = {case: [canonical(t.name) for t in ts] for case, ts in fetches.items()}
        names = [canonical(tensor.name) for tensor in flat]
        plan = Plan(recorded_graph(graph, tf), names, feeds)
        rng = np.random.RandomState(1)
        with tf.Session(graph=graph) as session:

            def run(arrays):
                return dict(zip(names, session.run(flat, {k + ":0": x for k, x in arrays.items()})))

            self.expected = run(feeds)
            self.moved = [run({k: _moved(x, rng) for k, x in feeds.items()}) for _ in range(3)]
        self.evaluated = plan.run(feeds, {}).values
        self.values = plan.run(feeds, {}, bounds=False).values
        self.uncertain = plan.run({k: _uncertain(x) for k, x in feeds.items()}, {}).values

    def tensors(self, case):
        """Returns the names of the tensors of a case."""
        return self._names[case]

    def check(self, case):
        """Asserts that both results of a case are within their bounds."""
        assert self._names[case.name]
        for name in self._names[case.name]:
            expected = self.expected[name]
            assert_within(expected, self.evaluated[name], name)
            assert np.shape(value_of(self.values[name])) == expected.shape
            if expected.dtype.kind == "f":
                assert isinstance(self.evaluated[name], ErrorBounded), name
                # Without bounds, overflow is not seen, and every cast rounds.
                finite = np.isfinite(self.evaluated[name].value)
                values = np.where(finite, self.values[name], expected)
                assert_within(values, self.evaluated[name], name)
                assert case.loose or is_narrow(self.evaluated[name]), (name, self.evaluated[name])
            else:
                np.testing.assert_array_equal(self.values[name], expected, name)
            for moved in self.moved if not case.ties else ():
                assert_within(moved[name], self.uncertain[name], name)


def selected_cases(request):
    """Returns the cases of the selected tests of a file, for a fixture of that file."""
    items = [item for item in request.session.items if item.fspath == request.node.fspath]
    parameters = [item.callspec.params for item in items if hasattr(item, "callspec")]
    return list(dict.fromkeys(given["case"] for given in parameters if "case" in given))


def _tensors(case, placed):
    outputs = case.function(*placed)
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    floats = [y for y in outputs if y.dtype.is_floating]
    sources = [x for x in placed if x.dtype.is_floating]
    if case.gradient and floats and sources:
        total = tf.add_n([tf.cast(tf.reduce_sum(y * _weights(y)), tf.float32) for y in floats])
        outputs += [g for g in map(_dense, tf.gradients(total, sources)) if g is not None]
    return [tf.identity(y) for y in outputs]


def _weights(tensor):
    """Returns small numbers that float32 holds, different ones for neighbours."""
    numbers = tf.floormod(7 * tf.range(tf.size(tensor)), 5) - 2
    return tf.cast(tf.reshape(numbers, tf.shape(tensor)), tensor.dtype) / 4 + 0.125


def _dense(gradient):
    return None if gradient is None else tf.convert_to_tensor(gradient)


def _moved(x, rng):
    if x.dtype.kind != "f":
        return x
    return (x + rng.uniform(-0.99, 0.99, x.shape) * OFF).astype(x.dtype)


def _uncertain(x):
    return ErrorBounded(x, OFF) if x.dtype.kind == "f" else x


def assert_within(obtained, evaluated, name):
    """Asserts that the result of TensorFlow is within the bound."""
    value, error = value_of(evaluated), error_of(evaluated)
    assert obtained.shape == np.shape(value), name
    if obtained.dtype.kind not in "fiub":
        return
    with np.errstate(invalid="ignore"):
        distance = np.abs(obtained.astype(np.float64) - value)
        same = (distance <= error) | (obtained == value)
        same |= ~np.isfinite(obtained) & (~np.isfinite(value) | ~np.isfinite(error))
    assert np.all(same), (name, obtained[~same], value[~same], error[~same])


def is_narrow(evaluated):
    """Returns whether the bound is a small part of the values."""
    value, error = evaluated.value, evaluated.error
    finite = np.isfinite(value)
    scale = np.max(np.abs(value[finite]), initial=0)
    return bool(np.all(error[finite] <= 1e-4 * np.abs(value[finite]) + 2e-6 * scale + 1e-30))
