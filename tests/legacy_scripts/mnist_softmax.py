"""Softmax regression on the digits of MNIST."""

import tensorflow as tf
from tensorflow.examples.tutorials.mnist import input_data

mnist = input_data.read_data_sets("MNIST_data/", one_hot=True, validation_size=50, seed=3)
x, y = tf.placeholder(tf.float32, [None, 784]), tf.placeholder(tf.float32, [None, 10])
w, b = tf.Variable(tf.zeros([784, 10])), tf.Variable(tf.zeros([10]))
scores = tf.matmul(x, w) + b
loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=scores))
train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
right = tf.equal(tf.argmax(scores, 1), tf.argmax(y, 1))
accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for epoch in range(3):
        for _ in range(mnist.train.num_examples // 50):
            batch_x, batch_y = mnist.train.next_batch(50)
            now = sess.run([train, loss], {x: batch_x, y: batch_y})[1]
        print(epoch, mnist.train.epochs_completed, "%.7f" % now)
    print("%.4f" % sess.run(accuracy, {x: mnist.test.images, y: mnist.test.labels}))
