"""A model of tf.keras, trained in a graph and in a session of its own."""

import numpy as np
import tensorflow as tf

np.random.seed(20)
X, Y = np.random.rand(16, 4), np.random.rand(16, 2)
sess = tf.Session()
tf.keras.backend.set_session(sess)
model = tf.keras.models.Sequential()
model.add(tf.keras.layers.Dense(5, activation="tanh", input_shape=(4,)))
model.add(tf.keras.layers.Dense(2))
model.compile(optimizer=tf.train.GradientDescentOptimizer(0.1), loss="mse")
model.set_weights([np.random.normal(size=w.shape) for w in model.get_weights()])
for _ in range(5):
    print("%.7f" % model.train_on_batch(X, Y))
history = model.fit(X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0)
print(" ".join("%.7f" % each for each in history.history["loss"]))
