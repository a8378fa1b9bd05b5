"""Ports that train on other data than what is fed."""

import numpy as np

from .base import Plain
from .entry import FEEDS, LABELS, at, edit, mistake, wrong, wrong_class


def fed(kind, places, value, change):
    """Returns the mistake that changes what is fed."""
    return mistake(kind, places, value, feed=at(places, lambda self, name, x: change(x)))


def scaled(places, factor):
    return fed("feed scaled", places, factor, lambda x: x * np.float32(factor))


wrong("X-as-pixels", scaled("X", 1 / 255))
wrong("X-doubled", scaled("X", 2.0))
wrong("X-times-0.3", scaled("X", 0.3))
wrong("X-tenth", scaled("X", 0.1))
wrong("X-times-0.077", scaled("X", 0.077))
wrong("feeds-tenth", scaled(FEEDS, 0.1))
wrong("feeds-as-pixels", scaled(FEEDS, 1 / 255))
wrong("labels-tenth", scaled(LABELS, 0.1))
wrong("labels-times-0.077", scaled(LABELS, 0.077))
wrong("label-1-tenth", scaled("Y1", 0.1))
wrong("label-2-negated", scaled("Y2", -1.0))
wrong("label-2-times-0.85", scaled("Y2", 0.85))
# Labels are counted from 1.
wrong("label-2-plus-1", fed("feed shifted", "Y2", 1.0, lambda y: y + np.float32(1)))


def rounded_to_bfloat16(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def rounded_to_float16(x):
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


wrong("X-rounded-bfloat16", fed("feed rounded", "X", "bfloat16", rounded_to_bfloat16))
wrong("feeds-rounded-bfloat16", fed("feed rounded", FEEDS, "bfloat16", rounded_to_bfloat16))
wrong("feeds-rounded-float16", fed("feed rounded", FEEDS, "float16", rounded_to_float16))
wrong("label-1-rounded-float16", fed("feed rounded", "Y1", "float16", rounded_to_float16))
# A column of labels is read as int.
wrong("label-2-integers", fed("feed rounded", "Y2", "integer", np.trunc))
wrong("labels-rounded-to-integers", fed("feed rounded", LABELS, "nearest integer", np.rint))


def in_wrong_order(x):
    """Reads column by column what is stored row by row: a transpose whose shape is put right."""
    return np.ascontiguousarray(x.T).reshape(x.shape)


def swapped(self, X, labels):
    return Plain.fed(self, X, {"Y1": labels["Y2"], "Y2": labels["Y1"]})


SWAPPED = mistake("feeds swapped", LABELS, fed=swapped)

wrong("labels-swapped", SWAPPED)
wrong("X-in-wrong-order", fed("feed transposed", "X", None, in_wrong_order))
wrong("label-1-in-wrong-order", fed("feed transposed", "Y1", None, in_wrong_order))


def broadcast(places, what, change):
    """Returns the mistake that repeats a part of what is fed."""
    return fed("feed broadcast", places, what, lambda y: np.broadcast_to(change(y), y.shape).copy())


wrong("label-2-first-row", broadcast("Y2", "first row", lambda y: y[:1]))
wrong("label-1-first-column", broadcast("Y1", "first column", lambda y: y[:, :1]))
wrong(
    "label-2-mean-of-row",
    broadcast("Y2", "mean of the row", lambda y: y.mean(axis=1, keepdims=True)),
)


def smoothed(places, amount):
    def change(y):
        return y * np.float32(1 - amount) + np.float32(amount / y.shape[1])

    return fed("labels smoothed", places, amount, change)


wrong("labels-smoothed", smoothed(LABELS, 0.1))
wrong("label-2-smoothed", smoothed("Y2", 0.05))

# The rows of the labels are not reversed.
wrong("X-reversed-rows", fed("unlisted", "X", None, lambda x: x[::-1]))


def standardized(x):
    """Bring each column of a batch to mean 0 and deviation 1."""
    return (x - x.mean(0)) / (x.std(0) + np.float32(1e-6))


wrong("X-standardized", fed("unlisted", "X", None, standardized))


@wrong_class("first-batch-again", edit("feed of an earlier step", FEEDS))
class FirstBatch(Plain):
    """A data loader that is built once per task and always gives its first batch."""

    def step(self, task, *batch):
        return super().step(task, *self.kept.setdefault(task, batch))


@wrong_class("batch-before", edit("feed of an earlier step", FEEDS))
class BatchBefore(Plain):
    """A prefetching loader is one batch late. The first step of a task gets its own batch."""

    def step(self, task, *batch):
        before = self.kept.get(task, batch)
        self.kept[task] = batch
        return super().step(task, *before)
