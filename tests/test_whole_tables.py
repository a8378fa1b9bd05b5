"""A penalty on whole tables, where TensorFlow has it on the rows of a batch, is named."""

import numpy as np
import pytest

from tf1_mtl.baseline import check, recording

tf = pytest.importorskip("tensorflow.compat.v1")
OPTIMIZERS = {
    "descent": lambda: tf.train.GradientDescentOptimizer(0.1),
    "Adam": lambda: tf.train.AdamOptimizer(0.02),
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
}


def trained(weights, optimizer, resource, clips, whole=()):
    """Returns what is fed, the variables, and what a step fetches, of a matrix factorization."""
    ids = [tf.placeholder(tf.int32, [None], name=name) for name in ("user", "item")]
    rate = tf.placeholder(tf.float32, [None], name="rate")
    tables = [tf.Variable(x, name=n, use_resource=resource) for n, x in weights.items()]
    rows = [tf.nn.embedding_lookup(table, x) for table, x in zip(tables, ids)]
    squares = [table if table.op.name in whole else x for table, x in zip(tables, rows)]
    error = tf.reduce_sum(rows[0] * rows[1], 1) - rate
    loss = tf.nn.l2_loss(error) + 0.05 * tf.add_n([tf.nn.l2_loss(x) for x in squares])
    gradients = tf.gradients(loss, tables)
    if clips:
        gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
    train = OPTIMIZERS[optimizer]().apply_gradients(zip(gradients, tables), name="train")
    return [*ids, rate], tables, [loss, train]


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize(
    "optimizer, resource, clips, whole",
    [
        ("descent", False, False, ("p", "q")),
        ("descent", True, False, ("q",)),
        ("Adam", False, False, ("q",)),
        ("Adam", True, True, ("p", "q")),
        ("Adagrad", False, False, ("p", "q")),
        ("Adagrad", True, True, ("p",)),
    ],
)
def test_a_penalty_on_whole_tables(path, optimizer, resource, clips, whole):
    rng = np.random.RandomState(3)
    weights = {n: (rng.randn(k, 3) / 2).astype("f") for n, k in (("p", 9), ("q", 6))}
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        feeds, _, fetches = trained(weights, optimizer, resource, clips)
        session.run(tf.global_variables_initializer())
        for _ in range(8):
            given = rng.randint(9, size=8), rng.randint(6, size=8), rng.rand(8)
            session.run(fetches, dict(zip(feeds, given)))

    class Port:
        def __init__(self, weights):
            with tf.Graph().as_default() as graph:
                # A run that updates a ref variable may read it before or after.
                self.built = trained(weights, optimizer, True, clips, whole)
                self.session = tf.Session(graph=graph)
                self.session.run(tf.global_variables_initializer())

        def step(self, task, feeds):
            given = {x: feeds[x.op.name] for x in self.built[0]}
            return self.session.run(self.built[2], given)[0]

        def weights(self):
            tables = self.built[1]
            return dict(zip((x.op.name for x in tables), self.session.run(tables)))

    report = check(Port, goldens=[path])
    assert not report.passed
    (edit,) = report.diagnosis.edits
    assert (edit.kind, len(edit.places)) == ("other tensor", len(whole))
    assert edit.value.split(" in place of ")[0] == " and ".join(whole)
