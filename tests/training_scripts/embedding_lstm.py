"""Tags for words: an embedding, an LSTM written by hand, Adagrad with sparse updates."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(4)
BATCH, STEPS, WORDS, SIZE, UNITS, TAGS = 3, 5, 15, 4, 6, 4


def variable(name, *shape):
    return tf.Variable((0.5 * rng.randn(*shape)).astype("float32"), name=name)


words = tf.placeholder(tf.int32, [BATCH, STEPS], name="words")
tags = tf.placeholder(tf.int32, [BATCH, STEPS], name="tags")
embedding = variable("embedding", WORDS, SIZE)
kernel, bias = variable("kernel", SIZE + UNITS, 4 * UNITS), variable("bias", 4 * UNITS)
W, b = variable("W", UNITS, TAGS), variable("b", TAGS)

embedded = tf.nn.embedding_lookup(embedding, words)
h = c = tf.zeros([BATCH, UNITS])
outputs = []
for x in tf.unstack(embedded, axis=1):
    gates = tf.matmul(tf.concat([x, h], axis=1), kernel) + bias
    i, j, f, o = tf.split(gates, 4, axis=1)
    c = tf.sigmoid(f + 1.0) * c + tf.sigmoid(i) * tf.tanh(j)
    h = tf.sigmoid(o) * tf.tanh(c)
    outputs.append(h)
flat = tf.reshape(tf.stack(outputs, axis=1), [-1, UNITS])
logits = tf.matmul(flat, W) + b
loss = tf.reduce_mean(
    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.reshape(tags, [-1]), logits=logits),
    name="loss",
)
train = tf.train.AdagradOptimizer(0.3).minimize(loss, name="train")

tag_of = rng.randint(0, TAGS, WORDS)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(20):
        batch = rng.randint(0, WORDS, (BATCH, STEPS))
        print(session.run([train, loss], {words: batch, tags: tag_of[batch]})[1])
