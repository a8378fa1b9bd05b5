"""What the MNIST reader gives out: kinds, sizes, order over epochs, use of NumPy's stream."""

import numpy as np
import tensorflow as tf
from tensorflow.examples.tutorials.mnist.input_data import read_data_sets

sets = read_data_sets("MNIST_data", validation_size=20, seed=5)
for part in (sets.train, sets.validation, sets.test):
    print(part.images.shape, part.images.dtype, part.labels.dtype, part.num_examples)
    for _ in range(7):
        images, labels = part.next_batch(45)
        print(part.epochs_completed, "%.6f" % images.sum(), labels[:12].tolist())
print("%.8f" % np.random.rand())

tf.set_random_seed(8)
raw = read_data_sets("MNIST_data", dtype=tf.uint8, reshape=False, one_hot=True, validation_size=0)
images, labels = raw.train.next_batch(4, shuffle=False)
print(images.shape, images.dtype, images.sum(), labels.dtype, labels.tolist())
print("%.8f" % np.random.rand(), raw.validation.images.shape, raw._fields)
fake = read_data_sets("nowhere", fake_data=True, one_hot=True, seed=1).train
images, labels = fake.next_batch(2, fake_data=True)
print(len(images), sum(images[0]), labels, fake.num_examples)
for bad in ({"validation_size": 301}, {"dtype": tf.int32, "validation_size": 0}):
    try:
        read_data_sets("MNIST_data", **bad)
    except (TypeError, ValueError) as error:
        print(type(error).__name__, error)
