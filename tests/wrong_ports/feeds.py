"""Ports that train on other data than what is fed."""

import numpy as np

from .base import Plain
from .entry import LABELS, edit, wrong


def feed(which, change):
    """Return a `fed` that changes X, Y1 or Y2, or several of them."""

    def fed(self, X, labels):
        given = {"X": X, **labels}
        given.update({name: change(given[name]) for name in which})
        return given.pop("X"), given

    return fed


def scaled(factor):
    return lambda x: x * np.float32(factor)


def rounded_to_bfloat16(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def rounded_to_float16(x):
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


def swapped(self, X, labels):
    return X, {"Y1": labels["Y2"], "Y2": labels["Y1"]}


def in_wrong_order(x):
    """Read column by column what is stored row by row: a transpose whose shape is put right."""
    return np.ascontiguousarray(x.T).reshape(x.shape)


def first_row_everywhere(x):
    return np.repeat(x[:1], len(x), axis=0)


def first_column_everywhere(x):
    return np.repeat(x[:, :1], x.shape[1], axis=1)


def mean_of_row_everywhere(x):
    return np.repeat(x.mean(axis=1, keepdims=True), x.shape[1], axis=1)


def smoothed(amount):
    return lambda y: y * np.float32(1 - amount) + np.float32(amount / y.shape[1])


class FirstBatch(Plain):
    """A data loader that is built once per task and always gives its first batch."""

    def fed(self, X, labels):
        kept = self.__dict__.setdefault("kept", {})
        return kept.setdefault(self.task, (X, labels))

    def step(self, task, X, Y1, Y2):
        self.task = task
        return super().step(task, X, Y1, Y2)


class BatchBefore(FirstBatch):
    """A prefetching loader is one batch late. The first step gets its own batch."""

    def fed(self, X, labels):
        kept = self.__dict__.setdefault("kept", {})
        before = kept.get(self.task, (X, labels))
        kept[self.task] = X, labels
        return before


ENTRIES = (
    wrong(
        "X-as-pixels",
        "X is divided by 255",
        edit("feed scaled", "X", 1 / 255),
        fed=feed("X", scaled(1 / 255)),
    ),
    wrong(
        "X-doubled",
        "X is multiplied by 2",
        edit("feed scaled", "X", 2.0),
        fed=feed("X", scaled(2)),
    ),
    wrong(
        "X-times-0.3",
        "X is multiplied by 0.3",
        edit("feed scaled", "X", 0.3),
        fed=feed("X", scaled(0.3)),
    ),
    wrong(
        "labels-tenth",
        "both labels are divided by 10",
        edit("feed scaled", LABELS, 0.1),
        fed=feed(LABELS, scaled(0.1)),
    ),
    wrong(
        "label-1-tenth",
        "Y1 is divided by 10, Y2 is not",
        edit("feed scaled", "Y1", 0.1),
        fed=feed(["Y1"], scaled(0.1)),
    ),
    wrong(
        "label-2-negated",
        "the sign of Y2 is wrong",
        edit("feed scaled", "Y2", -1.0),
        fed=feed(["Y2"], scaled(-1)),
    ),
    wrong(
        "label-2-times-0.85",
        "Y2 is multiplied by 0.85",
        edit("feed scaled", "Y2", 0.85),
        fed=feed(["Y2"], scaled(0.85)),
    ),
    wrong(
        "label-2-plus-1",
        "1 is added to Y2 (labels counted from 1)",
        edit("feed shifted", "Y2", 1.0),
        fed=feed(["Y2"], lambda y: y + np.float32(1)),
    ),
    wrong(
        "X-rounded-bfloat16",
        "X is rounded to bfloat16",
        edit("feed rounded", "X", "bfloat16"),
        fed=feed("X", rounded_to_bfloat16),
    ),
    wrong(
        "label-1-rounded-float16",
        "Y1 is rounded to float16",
        edit("feed rounded", "Y1", "float16"),
        fed=feed(["Y1"], rounded_to_float16),
    ),
    wrong(
        "label-2-integers",
        "Y2 is cut off to integers (a label column read as int)",
        edit("feed rounded", "Y2", "integer"),
        fed=feed(["Y2"], np.trunc),
    ),
    wrong(
        "labels-rounded-to-integers",
        "both labels are rounded to the nearest integer",
        edit("feed rounded", LABELS, "nearest integer"),
        fed=feed(LABELS, np.rint),
    ),
    wrong(
        "labels-swapped",
        "each task trains on the label of the other",
        edit("feeds swapped", LABELS),
        fed=swapped,
    ),
    wrong(
        "X-in-wrong-order",
        "X is read column by column",
        edit("feed transposed", "X"),
        fed=feed("X", in_wrong_order),
    ),
    wrong(
        "label-1-in-wrong-order",
        "Y1 is read column by column",
        edit("feed transposed", "Y1"),
        fed=feed(["Y1"], in_wrong_order),
    ),
    wrong(
        "label-2-first-row",
        "the first row of Y2 is the label of every row",
        edit("feed broadcast", "Y2", "first row"),
        fed=feed(["Y2"], first_row_everywhere),
    ),
    wrong(
        "label-1-first-column",
        "the first column of Y1 is broadcast over all columns",
        edit("feed broadcast", "Y1", "first column"),
        fed=feed(["Y1"], first_column_everywhere),
    ),
    wrong(
        "label-2-mean-of-row",
        "the mean of each row of Y2 is broadcast over its columns",
        edit("feed broadcast", "Y2", "mean of the row"),
        fed=feed(["Y2"], mean_of_row_everywhere),
    ),
    wrong(
        "labels-smoothed",
        "both labels are smoothed by 0.1",
        edit("labels smoothed", LABELS, 0.1),
        fed=feed(LABELS, smoothed(0.1)),
    ),
    wrong(
        "label-2-smoothed",
        "Y2 is smoothed by 0.05",
        edit("labels smoothed", "Y2", 0.05),
        fed=feed(["Y2"], smoothed(0.05)),
    ),
    wrong(
        "X-reversed-rows",
        "the rows of X are in reversed order, those of the labels are not",
        edit("unlisted", "X"),
        fed=feed("X", lambda x: x[::-1]),
    ),
    wrong(
        "X-standardized",
        "each column of X is brought to mean 0 and deviation 1 in each batch",
        edit("unlisted", "X"),
        fed=feed("X", lambda x: (x - x.mean(0)) / (x.std(0) + np.float32(1e-6))),
    ),
    wrong(
        "first-batch-again",
        "every step of a task trains on its first batch",
        edit("feed of an earlier step", ("X", "Y1", "Y2")),
        base=FirstBatch,
    ),
    wrong(
        "batch-before",
        "a step trains on the batch of the step before of its task",
        edit("feed of an earlier step", ("X", "Y1", "Y2")),
        base=BatchBefore,
    ),
)
