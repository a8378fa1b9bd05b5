"""Evaluates training steps beside TensorFlow: what a step fetches, and every variable after it."""

import numpy as np
import tensorflow.compat.v1 as tf
from operation_cases import assert_within

from tf1_mtl.baseline.error_bounds import UNIT, ErrorBounded, error_of, value_of
from tf1_mtl.baseline.evaluator import Plan
from tf1_mtl.baseline.graph_def import recorded_graph
from tf1_mtl.baseline.recorded_graph import canonical


class Training:
    """Runs a graph for some steps, and evaluates each from the state before it."""

    def __init__(self, build, steps=5, sources=()):
        """Runs the steps.

        Args:
          build: Builds the model in the default graph. Returns the fetches by name, and a function
            from the number of a step to its feed_dict.
          steps: How many.
          sources: Names of tensors that are fetched in the same run and fed to the evaluator.
        """
        graph = tf.Graph()
        with graph.as_default():
            tf.set_random_seed(7)
            self._fetches, feed = build()
            variables = {v.op.name: v.read_value() for v in tf.global_variables()}
            # One after the other: some start from the values of others.
            initializers = [v.initializer for v in tf.global_variables()]
        self.graph = recorded_graph(graph, tf)
        self.before, self.after, self.feeds, self.fetched = [], [], [], []
        with tf.Session(graph=graph) as session:
            for initializer in initializers:
                session.run(initializer)
            for step in range(steps):
                given = feed(step)
                self.before.append(session.run(variables))
                found, drawn = session.run([self._fetches, {s: s + ":0" for s in sources}], given)
                self.fetched.append(found)
                self.after.append(session.run(variables))
                names = {canonical(key.name): _as_fed(key, x) for key, x in given.items()}
                self.feeds.append({**names, **drawn})
        names = [canonical(getattr(x, "name", x)) for x in self._fetches.values()]
        self._plan = Plan(self.graph, names, self.feeds[0])
        self._names = dict(zip(names, self._fetches))
        self.evaluated = [self._plan.run(*pair) for pair in zip(self.feeds, self.before)]
        self.values = self._plan.run(self.feeds[0], self.before[0], bounds=False)

    def check(self, prefix="", widest=1e-2, but=()):
        """Asserts that all steps are within their bounds.

        Args:
          prefix: Of the names of the variables to look at.
          widest: How wide the bounds of a variable may be, as a part of its largest step.
          but: Names of variables whose bounds may be wider.
        """
        names = [name for name in self.before[0] if name.startswith(prefix)]
        assert names
        for step, evaluation in enumerate(self.evaluated):
            for tensor, value in evaluation.values.items():
                found = self.fetched[step][self._names[tensor]]
                if found is not None:
                    assert_within(np.asarray(found), value, (step, tensor))
            for name in names:
                after = self.after[step][name]
                if name not in evaluation.variables:
                    np.testing.assert_array_equal(after, self.before[step][name], name)
                    continue
                value = evaluation.variables[name]
                assert_within(after, value, (step, name))
                change = np.max(np.abs(value_of(value) - self.before[step][name]), initial=0)
                rounding = 4 * UNIT * np.abs(value_of(value)) + 1e-12
                narrow = np.all(error_of(value) <= widest * change + rounding)
                assert narrow or name in but, (step, name, change, error_of(value))
                if step == 0 and isinstance(value, ErrorBounded):
                    assert np.allclose(self.values.variables[name], value.value, 1e-9, 1e-12)
        assert any(name in self.evaluated[0].variables for name in names)

    def check_chained(self, prefix=""):
        """Asserts that all steps, one after the other, are within their growing bounds."""
        state = dict(self.before[0])
        for step, feeds in enumerate(self.feeds):
            evaluation = self._plan.run(feeds, state)
            state.update(evaluation.variables)
            for name, value in state.items():
                if name.startswith(prefix):
                    assert_within(self.after[step][name], value, (step, name))


def _as_fed(key, value):
    return np.asarray(value, key.dtype.as_numpy_dtype)
