"""Lesson 11: two images, one tower.

One tower of convolutions sees two images of digits. Each image has a loss for its digit, and the
pair has a loss for "the same digit or not", which counts half. One step trains all three outputs.

Differs from the published listings: another model with three tasks; seeds; `compat.v1` and
`use_resource=False`. It needs scikit-learn, for its 1,797 images of digits.
Run it: python legacy_examples/11_two_images.py
"""

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf
from sklearn.datasets import load_digits

TRAINED, STEPS, PAIRS = 1400, 200, 32
WEIGHTS = {"digit_1": 1.0, "digit_2": 1.0, "same": 0.5}

# %% Pairs of images: in about half of them both show the same digit
digits = load_digits()
pictures, classes = digits.images[..., np.newaxis] / 16, digits.target
rng = np.random.RandomState(11)


def pairs(rows, number):
    """What is fed for so many pairs of these rows: two images, two digits, and 1 for "the same"."""
    first, second = rng.choice(rows, number), rng.choice(rows, number)
    for i in np.flatnonzero(rng.rand(number) < 0.45):
        second[i] = rng.choice(rows[classes[rows] == classes[first[i]]])
    same = (classes[first] == classes[second]).astype("float32")
    values = (pictures[first], pictures[second], classes[first], classes[second], same)
    return dict(zip(fed, values))


# %% The graph: the tower's weights are made once, and used for both images
def weights(name, *shape):
    first = rng.randn(*shape) * np.sqrt(2.0 / np.prod(shape[:-1])) if len(shape) > 1 else 0.1
    first = np.broadcast_to(first, shape)
    return tf.Variable(first, name=name, dtype="float32", use_resource=False)


with tf.Graph().as_default() as graph:
    images = [tf.placeholder(tf.float32, [None, 8, 8, 1], name=f"image_{i}") for i in (1, 2)]
    digit = [tf.placeholder(tf.int32, [None], name=f"digit_{i}") for i in (1, 2)]
    same = tf.placeholder(tf.float32, [None], name="same")
    fed = (*images, *digit, same)
    convolutions = [
        (weights("convolution_1_W", 3, 3, 1, 8), weights("convolution_1_b", 8)),
        (weights("convolution_2_W", 3, 3, 8, 16), weights("convolution_2_b", 16)),
    ]

    def tower(layer):
        """64 numbers for each image."""
        for W, b in convolutions:
            layer = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(layer, W, [1, 1, 1, 1], "SAME"), b))
            layer = tf.nn.max_pool(layer, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
        return tf.reshape(layer, [-1, 64])

    def head(layer, name, outputs):
        return tf.matmul(layer, weights(name + "_W", 64, outputs)) + weights(name + "_b", outputs)

    seen = [tower(image) for image in images]
    scores = {f"digit_{i + 1}": head(seen[i], f"digit_{i + 1}", 10) for i in (0, 1)}
    scores["same"] = head(tf.square(seen[0] - seen[1]), "same", 1)[:, 0]
    losses = {
        f"digit_{i + 1}": tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=digit[i], logits=scores[f"digit_{i + 1}"]
        )
        for i in (0, 1)
    }
    losses["same"] = tf.nn.sigmoid_cross_entropy_with_logits(labels=same, logits=scores["same"])
    weighted = [WEIGHTS[name] * tf.reduce_mean(each) for name, each in losses.items()]
    loss = tf.add_n(weighted, name="loss")
    train = tf.train.AdamOptimizer(0.01).minimize(loss, name="train")
    init = tf.global_variables_initializer()

# %% Train on the first 1,400 images
with tf.Session(graph=graph) as session:
    session.run(init)
    for step in range(STEPS):
        _, value = session.run([train, loss], pairs(np.arange(TRAINED), PAIRS))
        if step % 50 == 0:
            print(f"step {step}: loss {value:.3f}")
    unseen = pairs(np.arange(TRAINED, len(classes)), 1000)
    answers = session.run(scores, unseen)

# %% The share of right answers on the 397 images that were not trained on
guesses = {name: answers[name].argmax(axis=1) for name in ("digit_1", "digit_2")}
guesses["same"] = answers["same"] > 0
truth = dict(zip(("digit_1", "digit_2", "same"), (unseen[key] for key in (*digit, same))))
accuracy = {name: np.mean(guess == truth[name]) for name, guess in guesses.items()}
for name in accuracy:
    chance = max(np.mean(truth[name] == value) for value in set(truth[name]))
    print(f"{name:7} accuracy {accuracy[name]:.3f}, of the most frequent answer {chance:.3f}")
