"""The ways to import one and the same."""

import tensorflow
import tensorflow as tf
import tensorflow.contrib as contrib
import tensorflow.contrib.layers as layers
from tensorflow import contrib as also_contrib
from tensorflow.contrib import layers as also_layers
from tensorflow.contrib.framework.python.ops import arg_scope
from tensorflow.contrib.layers import *  # noqa: F403
from tensorflow.contrib.layers import l2_regularizer
from tensorflow.contrib.layers.python.layers import batch_norm
from tensorflow.contrib.rnn.python.ops import rnn_cell as cells
from tensorflow.examples.tutorials.mnist import input_data
from tensorflow.nn import rnn_cell

print(contrib is tf.contrib, also_contrib is tensorflow.contrib, layers is also_layers)
print(l2_regularizer is layers.l2_regularizer, batch_norm is layers.batch_norm)
print(tf.contrib.rnn.BasicLSTMCell is rnn_cell.BasicLSTMCell, hasattr(tf.contrib, "nothing"))
print(arg_scope is not None, callable(input_data.read_data_sets))
print(conv2d is layers.conv2d, cells is not None)  # noqa: F405
