"""MNIST by the names of tf.contrib.learn.datasets."""

import tensorflow as tf
from tensorflow.contrib.learn.python.learn.datasets.mnist import extract_images, read_data_sets

mnist = tf.contrib.learn.datasets.mnist.read_data_sets("MNIST_data", validation_size=30, seed=2)
again = read_data_sets("MNIST_data", validation_size=30, seed=2)
for each in (mnist, again):
    images, labels = each.train.next_batch(10)
    print("%.6f" % images.sum(), labels.tolist())
with open("MNIST_data/t10k-images-idx3-ubyte.gz", "rb") as file:
    print(extract_images(file).shape)
print(tf.contrib.learn.datasets.mnist.dense_to_one_hot(labels[:2], 10).tolist())
