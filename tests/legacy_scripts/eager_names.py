"""Names of tf.contrib.eager that are TensorFlow's own today, in a graph."""

import numpy as np
import tensorflow as tf
import tensorflow.contrib.eager as tfe

np.random.seed(21)
X = np.random.rand(3).astype(np.float32)


@tfe.custom_gradient
def doubled(x):
    return x * 2.0, lambda upstream: upstream * 5.0


def scaled(x):
    return x * tf.get_variable("scale", initializer=3.0)


template = tfe.make_template("scaled", scaled)
x = tf.constant(X)
outputs = [doubled(x), tf.gradients(doubled(x), x)[0], template(x) + template(x)]
outputs.append(tfe.py_func(lambda value: value + 1.0, [x], tf.float32))
print(tfe.executing_eagerly(), [v.op.name for v in tf.global_variables()])
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for value in sess.run(outputs):
        print(" ".join("%.6f" % each for each in value))
