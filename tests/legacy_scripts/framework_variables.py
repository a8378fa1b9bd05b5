"""Variables and scopes of tf.contrib.framework."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib import framework
from tensorflow.contrib.framework import add_arg_scope, arg_scope, get_variables

np.random.seed(10)


@add_arg_scope
def scaled(inputs, by=1.0):
    return inputs * by


with tf.variable_scope("model"):
    w = framework.model_variable("w", [2], initializer=tf.ones_initializer())
    b = framework.local_variable(np.float32(2.0), name="b")
step = framework.get_or_create_global_step()
with arg_scope([scaled], by=3.0):
    y = scaled(w) + b
more = tf.assign_add(step, 2)
print([v.op.name for v in get_variables("model")], framework.get_global_step() is step)
print([v.op.name for v in framework.get_local_variables()])
print(framework.nest.flatten({"a": 1, "b": [2, (3, 4)]}), framework.is_tensor(y))
with tf.Session() as sess:
    sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    print(sess.run(y), sess.run(more), sess.run(framework.sort([3, 1, 2])))
    print(sess.run(framework.argsort([3, 1, 2])))
