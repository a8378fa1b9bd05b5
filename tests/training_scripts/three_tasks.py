"""Three tasks with one shared layer, each with an optimizer of its own, trained in turn."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(1)
ROWS, INPUTS, SHARED, OUTPUTS, LABELS, CLASSES = 8, 6, 10, 4, 3, 5


def variable(name, *shape):
    return tf.Variable((0.5 * rng.randn(*shape)).astype("float32"), name=name)


X = tf.placeholder(tf.float32, [None, INPUTS], name="X")
targets = tf.placeholder(tf.float32, [None, OUTPUTS], name="targets")
labels = tf.placeholder(tf.float32, [None, LABELS], name="labels")
classes = tf.placeholder(tf.float32, [None, CLASSES], name="classes")

shared = tf.tanh(tf.matmul(X, variable("shared_W", INPUTS, SHARED)) + variable("shared_b", SHARED))

output = tf.matmul(shared, variable("value_W", SHARED, OUTPUTS)) + variable("value_b", OUTPUTS)
value_loss = tf.reduce_mean(tf.square(output - targets), name="value_loss")

logits = tf.nn.bias_add(
    tf.matmul(shared, variable("label_W", SHARED, LABELS)), variable("label_b", LABELS)
)
probability = tf.sigmoid(logits)
label_loss = -tf.reduce_mean(
    labels * tf.log(probability + 1e-6) + (1 - labels) * tf.log(1 - probability + 1e-6)
)

scores = tf.matmul(shared, variable("class_W", SHARED, CLASSES)) + variable("class_b", CLASSES)
class_loss = tf.reduce_mean(
    tf.nn.softmax_cross_entropy_with_logits_v2(labels=classes, logits=scores)
)

losses = {"value": value_loss, "label": label_loss, "class": class_loss}
train_value = tf.train.AdamOptimizer(0.01, beta1=0.8, beta2=0.99, epsilon=1e-4).minimize(
    value_loss, name="train_value"
)
train_label = tf.train.MomentumOptimizer(0.05, 0.9, use_nesterov=True).minimize(
    label_loss, name="train_label"
)
train_class = tf.train.RMSPropOptimizer(0.01, 0.9, momentum=0.5, centered=True).minimize(
    class_loss, name="train_class"
)
steps = {"value": train_value, "label": train_label, "class": train_class}

features = rng.randn(ROWS, INPUTS)
feeds = {
    "value": {X: features, targets: 0.3 * rng.randn(ROWS, OUTPUTS)},
    "label": {X: features, labels: rng.randint(0, 2, (ROWS, LABELS))},
    "class": {X: features, classes: np.eye(CLASSES)[rng.randint(0, CLASSES, ROWS)]},
}
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for step in range(24):
        task = ("value", "label", "class")[step % 3]
        _, loss = session.run([steps[task], losses[task]], feeds[task])
        print(task, loss)
