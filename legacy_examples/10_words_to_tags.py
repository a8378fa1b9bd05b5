"""Lesson 10: words to tags.

The article's second part tags words: with their parts of speech, and with the chunks that they
belong to. A shared layer reads the sentence in both directions, and each task has its own head.

Differs from the published listings, which need `tf.contrib`: one plain recurrent layer and no
dropout; 68 sentences that ship with this lesson; seeds; `compat.v1` and `use_resource=False`.
Run it: python legacy_examples/10_words_to_tags.py
"""

import os

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf

TASKS = {"pos": 1, "chunk": 2}  # the column of each
TRAINED, LENGTH, UNITS, BATCH = 52, 12, 16, 13

# %% The sentences as numbers; 0 fills up the short ones and stands for unknown words
# A notebook has no __file__, and runs in its own folder.
folder = os.path.dirname(os.path.abspath(globals().get("__file__", "notebook")))
with open(os.path.join(folder, "data", "tagged_sentences.txt"), encoding="utf-8") as file:
    text = file.read().strip()
# A word, its part of speech and its chunk in each line, and an empty line after each sentence. The
# files of CoNLL-2000 have this form too.
sentences = [[line.split() for line in each.split("\n")] for each in text.split("\n\n")]
known = [row for sentence in sentences[:TRAINED] for row in sentence]
ids = [{name: i + 1 for i, name in enumerate(sorted({row[c] for row in known}))} for c in range(3)]
table = np.zeros([3, len(sentences), LENGTH], np.int32)
for s, sentence in enumerate(sentences):
    for t, row in enumerate(sentence[:LENGTH]):
        table[:, s, t] = [ids[column].get(row[column], 0) for column in range(3)]

# %% The graph: embedding, a recurrent layer in each direction, two heads
rng = np.random.RandomState(10)


def weights(name, *shape):
    return tf.Variable(rng.rand(*shape) - 0.5, name=name, dtype="float32", use_resource=False)


def recurrent(steps, name):
    """The state after each step, which the state before and the input make."""
    W, b = weights(name + "_W", 2 * UNITS, UNITS), weights(name + "_b", UNITS)
    states = [tf.zeros_like(steps[0])]
    for x in steps:
        states.append(tf.tanh(tf.matmul(tf.concat([x, states[-1]], 1), W) + b))
    return states[1:]


with tf.Graph().as_default() as graph:
    words = tf.placeholder(tf.int32, [None, LENGTH], name="words")
    embedding = weights("embedding", len(ids[0]) + 1, UNITS)
    steps = tf.unstack(tf.nn.embedding_lookup(embedding, words), LENGTH, 1)
    forward, backward = recurrent(steps, "forward"), recurrent(steps[::-1], "backward")[::-1]
    shared = [tf.concat(pair, 1) for pair in zip(forward, backward)]
    tags, loss, guess = {}, {}, {}
    for task, column in TASKS.items():
        tags[task] = tf.placeholder(tf.int32, [None, LENGTH], name=task)
        head = weights(task + "_head", 2 * UNITS, len(ids[column]) + 1)
        scores = tf.stack([tf.matmul(state, head) for state in shared], 1)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tags[task], logits=scores)
        real = tf.cast(tags[task] > 0, tf.float32)
        loss[task] = tf.reduce_sum(each * real) / tf.reduce_sum(real)
        guess[task] = tf.argmax(scores, 2)
    loss["joint"] = loss["pos"] + loss["chunk"]
    op = {t: tf.train.AdamOptimizer(0.02, name=t + "_op").minimize(loss[t]) for t in loss}
    init = tf.global_variables_initializer()


# %% The baseline: the tag that a word has most often; for unknown words, the most frequent tag
found, tested = {"baseline": {}}, table[:, TRAINED:]
for task, column in TASKS.items():
    counts = np.zeros([len(ids[0]) + 1, len(ids[column]) + 1])
    np.add.at(counts, (table[0, :TRAINED], table[column, :TRAINED]), 1)
    counts[:, 0] = 0
    counts[0] = counts.sum(axis=0)
    found["baseline"][task] = counts.argmax(axis=1)[tested[0]]

# %% Train in turns, then jointly, from the same weights; each task is trained 80 times
for name, turns in (("alternate", [["pos"], ["chunk"]] * 80), ("joint", [["pos", "chunk"]] * 80)):
    draw = np.random.RandomState(11)
    with tf.Session(graph=graph) as session:
        session.run(init)
        for turn in turns:
            batch = table[:, draw.choice(TRAINED, BATCH, replace=False)]
            feed = {words: batch[0], **{tags[task]: batch[TASKS[task]] for task in turn}}
            task = turn[0] if name == "alternate" else "joint"
            session.run([op[task], loss[task]], feed)
        found[name] = session.run(guess, {words: tested[0]})

# %% The share of right tags in the sentences that were not trained on
accuracy = {}
for name, tag in found.items():
    accuracy[name] = {t: (tag[t] == tested[c])[tested[c] > 0].mean() for t, c in TASKS.items()}
    print(f"{name:9} pos {accuracy[name]['pos']:.3f}, chunk {accuracy[name]['chunk']:.3f}")
