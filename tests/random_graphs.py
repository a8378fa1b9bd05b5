"""Builds graphs whose training uses random numbers, queues, iterators, loops and branches.

Each function builds a model in the default graph. It returns the fetches of a step, a function that
draws its feeds, and what must run before the first step, or None. Some have ref variables, some
resource variables.
"""

import numpy as np
import tensorflow.compat.v1 as tf


def dropout():
    """Two layers of dropout at a rate that is fed, and Adam."""
    x, labels = tf.placeholder(tf.float32, [None, 20]), tf.placeholder(tf.int32, [None])
    rate = tf.placeholder_with_default(tf.constant(0.5), [])
    hidden = tf.nn.dropout(tf.nn.relu(_dense(x, 32, "hidden", False)), rate=rate)
    hidden = tf.nn.dropout(hidden, rate=0.2)
    loss = _cross_entropy(labels, _dense(hidden, 5, "out", False))

    def draw(rng):
        return {x: rng.rand(16, 20), labels: rng.randint(0, 5, 16), rate: 0.3}

    return [tf.train.AdamOptimizer(0.01).minimize(loss), loss], draw, None


def convolution():
    """Noise on images, batch normalization, dropout, clipping by global norm, and Momentum."""
    x, labels = tf.placeholder(tf.float32, [None, 12, 12, 3]), tf.placeholder(tf.int32, [None])
    with tf.variable_scope("", use_resource=True):
        kernel = tf.get_variable("kernel", [3, 3, 3, 8])
        scale, offset = tf.get_variable("scale", [8]), tf.get_variable("offset", [8])
    noisy = x + tf.random_normal(tf.shape(x), stddev=0.05)
    layer = tf.nn.relu(tf.nn.conv2d(noisy, kernel, [1, 1, 1, 1], "SAME"))
    layer = tf.nn.max_pool(layer, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    layer, _, _ = tf.nn.fused_batch_norm(layer, scale, offset)
    layer = tf.reshape(tf.nn.dropout(layer, rate=0.4), [-1, 6 * 6 * 8])
    loss = _cross_entropy(labels, _dense(layer, 5, "out", True))
    optimizer = tf.train.MomentumOptimizer(0.05, 0.9)
    gradients, variables = zip(*optimizer.compute_gradients(loss))
    gradients, _ = tf.clip_by_global_norm(gradients, 1.0)

    def draw(rng):
        return {x: rng.rand(8, 12, 12, 3), labels: rng.randint(0, 5, 8)}

    return [optimizer.apply_gradients(zip(gradients, variables)), loss], draw, None


def sampled_words():
    """Noise-contrastive estimation, with its sampled words and sparse updates."""
    words, context = tf.placeholder(tf.int32, [8]), tf.placeholder(tf.int64, [8, 1])
    with tf.variable_scope("", use_resource=False):
        embeddings = tf.get_variable("embeddings", [50, 8])
        weights, biases = tf.get_variable("weights", [50, 8]), tf.get_variable("biases", [50])
    chosen = tf.nn.embedding_lookup(embeddings, words)
    loss = tf.reduce_mean(tf.nn.nce_loss(weights, biases, context, chosen, 6, 50))

    def draw(rng):
        return {words: rng.randint(0, 50, 8), context: rng.randint(0, 50, (8, 1))}

    return [tf.train.AdagradOptimizer(0.05).minimize(loss), loss], draw, None


def iterator():
    """A shuffled data set, and dropout."""
    examples = _examples()
    data = tf.data.Dataset.from_tensor_slices(examples).shuffle(64, seed=4).repeat().batch(8)
    x, labels = tf.data.make_one_shot_iterator(data).get_next()
    hidden = tf.nn.dropout(_dense(tf.reshape(x, [-1, 10]), 12, "hidden", True), rate=0.5)
    loss = _cross_entropy(labels, _dense(hidden, 4, "out", True))
    return [tf.train.RMSPropOptimizer(0.01).minimize(loss), loss], lambda rng: {}, None


def queue():
    """Examples from a queue, as input pipelines gave them before tf.data."""
    x, labels = _examples()
    fifo = tf.FIFOQueue(100, [tf.float32, tf.int32], shapes=[[10], []])
    fill = fifo.enqueue_many([tf.constant(x), tf.constant(labels)])
    x, labels = fifo.dequeue_many(8)
    loss = _cross_entropy(labels, _dense(tf.tanh(_dense(x, 12, "hidden", False)), 4, "out", False))
    return [tf.train.AdamOptimizer(0.01).minimize(loss), loss], lambda rng: {}, fill


def loop():
    """A recurrent layer in tf.while_loop, from a random initial state."""
    x, target = tf.placeholder(tf.float32, [6, 4, 5]), tf.placeholder(tf.float32, [4, 3])
    with tf.variable_scope("", use_resource=True):
        weights = tf.get_variable("weights", [8, 3])
    inputs = tf.TensorArray(tf.float32, 6).unstack(x)

    def body(i, state):
        return i + 1, tf.tanh(tf.matmul(tf.concat([inputs.read(i), state], 1), weights))

    _, state = tf.while_loop(lambda i, _: i < 6, body, [0, 0.1 * tf.random_normal([4, 3])])
    loss = tf.reduce_sum(tf.square(state - target))

    def draw(rng):
        return {x: rng.rand(6, 4, 5), target: rng.rand(4, 3)}

    return [tf.train.GradientDescentOptimizer(0.01).minimize(loss), loss], draw, None


def branch():
    """Random numbers inside tf.cond, which cannot be fetched, and outside of it."""
    x, training = tf.placeholder(tf.float32, [None, 6]), tf.placeholder(tf.bool, [])
    hidden = _dense(x, 8, "hidden", True)
    hidden = tf.cond(
        training,
        lambda: tf.nn.dropout(hidden, rate=0.5),
        lambda: hidden * tf.random_uniform([]),
    )
    loss = tf.nn.l2_loss(_dense(hidden, 1, "out", True) + tf.random_uniform([]))

    def draw(rng):
        return {x: rng.rand(5, 6), training: rng.rand() < 0.5}

    return [tf.train.AdamOptimizer(0.01).minimize(loss), loss], draw, None


def many_kinds():
    """Shuffled, cropped, drawn in many ways, computed by Python, and an update by hand."""
    x = tf.placeholder(tf.float32, [6, 9, 9])
    weights = tf.Variable(np.full((64, 4), 0.1, np.float32), use_resource=False)
    drawn = tf.random_crop(tf.random_shuffle(x), [6, 8, 8]) * tf.truncated_normal([6, 8, 8])
    drawn += tf.random_gamma([6, 1, 1], 2.0) + tf.random.stateless_uniform([8], seed=[1, 2])
    drawn += tf.cast(tf.reshape(tf.multinomial(tf.ones([6, 4]), 1), [6, 1, 1]), tf.float32)
    drawn += tf.reshape(tf.py_func(lambda value: value.mean(), [x], tf.float32), [])
    outputs = tf.sigmoid(tf.matmul(tf.reshape(drawn, [6, 64]), weights))
    loss = tf.reduce_mean(tf.square(outputs - tf.random_uniform([6, 4])))
    (gradient,) = tf.gradients(loss, [weights])
    update = tf.assign_sub(weights, 0.1 * gradient, name="update")
    return [update, loss], lambda rng: {x: rng.rand(6, 9, 9)}, None


ALL = (dropout, convolution, sampled_words, iterator, queue, loop, branch, many_kinds)


def train(build, steps=4):
    """Trains a graph in a session of its own.

    Returns:
      What each step fetched, but for the training operation, and the variables at the end.
    """
    with tf.Graph().as_default():
        tf.set_random_seed(11)
        fetches, draw, prepare = build()
        rng = np.random.RandomState(2)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            if prepare is not None:
                session.run(prepare)
            losses = [session.run(fetches, draw(rng))[1] for _ in range(steps)]
            return [*losses, *session.run(tf.global_variables())]


def _dense(x, outputs, name, use_resource):
    with tf.variable_scope(name, use_resource=use_resource):
        weights = tf.get_variable("weights", [int(x.shape[-1]), outputs])
        biases = tf.get_variable("biases", [outputs], initializer=tf.zeros_initializer())
    return tf.matmul(x, weights) + biases


def _cross_entropy(labels, logits):
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    return tf.reduce_mean(losses)


def _examples():
    rng = np.random.RandomState(3)
    return rng.rand(64, 10).astype(np.float32), rng.randint(0, 4, 64).astype(np.int32)
