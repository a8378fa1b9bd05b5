"""Ports whose loss is another: scaled, averaged, weighted, or another function."""

import numpy as np

from .base import Plain
from .entry import LOSSES, OPTIMIZERS, WEIGHTS, at, edit, mistake, wrong, wrong_class


def times(kind, places, value, factor):
    """Returns the mistake of a loss that is multiplied by a function of the shape of its output."""

    def loss(self, name, output, label):
        value, gradient = Plain.loss(self, name, output, label)
        number = np.float32(factor(*output.shape))
        return value * number, gradient * number

    return mistake(kind, places, value, loss=at(places, loss))


def scaled(places, factor):
    return times("loss scaled", places, factor, lambda rows, columns: factor)


def mean_over_outputs(places, factor):
    """Returns the mistake of a mean of squares over all outputs, or with 0.5 of half of it."""
    return times("mean over outputs", places, factor, lambda m, n: 2 * factor / (m * n))


def mean_over_batch(places, factor):
    """Returns the mistake of a sum of squares divided by the rows, or with 0.5 of half of it."""
    return times("mean over batch", places, factor, lambda rows, columns: 2 * factor / rows)


wrong("no-half", scaled(LOSSES, 2.0))
wrong("no-half-task-2", scaled("L2Loss_1", 2.0))
wrong("loss-tenth-task-1", scaled("L2Loss", 0.1))
wrong("loss-times-0.7", scaled(LOSSES, 0.7))
wrong("loss-times-3.08", scaled(LOSSES, 3.08))
wrong("loss-times-4", scaled(LOSSES, 4.0))
wrong("mean-squared", mean_over_outputs(LOSSES, 1.0))
wrong("mean-squared-task-1", mean_over_outputs("L2Loss", 1.0))
wrong("mean-squared-task-2", mean_over_outputs("L2Loss_1", 1.0))
wrong("half-mean-squared", mean_over_outputs(LOSSES, 0.5))
wrong("half-mean-squared-task-2", mean_over_outputs("L2Loss_1", 0.5))
wrong("mean-over-rows", mean_over_batch(LOSSES, 1.0))
wrong("half-mean-over-rows", mean_over_batch(LOSSES, 0.5))
wrong("half-mean-over-rows-task-1", mean_over_batch("L2Loss", 0.5))
# A mean over each row, summed over rows, as the MSE of Keras.
wrong("mean-over-columns", times("unlisted", LOSSES, None, lambda rows, columns: 2 / columns))


def weighted(place, weight):
    """Returns the mistake of a loss that counts otherwise in the joint loss."""
    changes = {"loss_weight": {f"joint/{place}": weight}}
    return mistake("loss weight in the sum", place, weight, **changes)


JOINT_AVERAGE = mistake(
    "loss weight in the sum",
    LOSSES,
    0.5,
    also=[[edit("loss scaled", "add", 0.5)]],
    loss_weight={"joint/L2Loss": 0.5, "joint/L2Loss_1": 0.5},
)

wrong("joint-average", JOINT_AVERAGE)
wrong("joint-weight-task-2", weighted("L2Loss_1", 0.3))
wrong("joint-weight-task-1-half", weighted("L2Loss", 0.5))
wrong("joint-weight-task-2-half", weighted("L2Loss_1", 0.5))
wrong("joint-weights-0.7-0.3", weighted("L2Loss", 0.7), weighted("L2Loss_1", 0.3))
wrong("joint-difference", weighted("L2Loss_1", -1.0))


def summed(name, function, slope):
    """Returns the mistake of a sum of another function, as a function of its places."""

    def loss(self, place, output, label):
        error = output - label
        return np.sum(function(error)), slope(error)

    return lambda places: mistake("other loss", places, name, loss=at(places, loss))


absolute_error = summed("absolute error", np.abs, np.sign)
huber = summed(
    "huber",
    lambda e: np.where(np.abs(e) < 1, e * e / 2, np.abs(e) - np.float32(0.5)),
    lambda e: np.clip(e, -1, 1),
)
log_cosh = summed("log-cosh", lambda e: np.logaddexp(e, -e) - np.float32(np.log(2)), np.tanh)

wrong("absolute-error", absolute_error(LOSSES))
wrong("absolute-error-task-2", absolute_error("L2Loss_1"))
wrong("huber", huber(LOSSES))
wrong("huber-task-1", huber("L2Loss"))
wrong("log-cosh", log_cosh(LOSSES))


@wrong_class(
    "mean-absolute-error",
    edit("other loss", LOSSES, "absolute error"),
    edit("mean over outputs", LOSSES),
)
class MeanAbsoluteError(Plain):
    """The mean of absolute errors over all outputs."""

    def loss(self, name, output, label):
        error = output - label
        return np.mean(np.abs(error)), np.sign(error) / np.float32(error.size)


@wrong_class(
    "root-of-squares", edit("other loss", LOSSES, "norm"), also=[[edit("unlisted", LOSSES)]]
)
class RootOfSquares(Plain):
    """The norm of the difference, not half of its square."""

    def loss(self, name, output, label):
        error = output - label
        norm = np.sqrt(np.sum(error * error))
        return norm, error / np.maximum(norm, np.float32(1e-12))


@wrong_class("cubes", edit("unlisted", LOSSES))
class Cubes(Plain):
    """A sum of |error|^3 / 3."""

    def loss(self, name, output, label):
        error = output - label
        return np.sum(np.abs(error) ** 3 / 3), error * np.abs(error)


def penalty(names, factor):
    """Returns the mistake of a loss with factor / 2 times the squares of the trained weights."""

    def loss_and_gradients(self, task, X, labels):
        loss, gradients = Plain.loss_and_gradients(self, task, X, labels)
        for name in WEIGHTS:
            if name not in gradients or name not in names:
                continue
            w = self.w[name]
            loss = loss + np.sum(w * w) * np.float32(factor / 2)
            gradients[name] = gradients[name] + np.float32(factor) * w
        return loss, gradients

    return mistake("penalty in the loss", names, factor, loss_and_gradients=loss_and_gradients)


wrong("penalty", penalty(WEIGHTS, 0.01))
wrong("penalty-head-2", penalty(["share_Y2"], 0.5))
wrong("penalty-shared", penalty(["share_W"], 0.001))


@wrong_class(
    "penalty-of-all", edit("penalty in the loss", WEIGHTS, 0.01), edit("trains more", OPTIMIZERS)
)
@wrong_class(
    "penalty-of-all-0.0077",
    edit("penalty in the loss", WEIGHTS, 0.0077),
    edit("trains more", OPTIMIZERS),
    factor=0.0077,
)
class PenaltyOfAll(Plain):
    """An L2 penalty of all variables is part of every loss, also of the head that rests."""

    factor = 0.01

    def loss_and_gradients(self, task, X, labels):
        loss, gradients = super().loss_and_gradients(task, X, labels)
        for name, w in self.weights().items():
            loss = loss + np.sum(w * w) * np.float32(self.factor / 2)
            gradients[name] = gradients.get(name, np.float32(0)) + np.float32(self.factor) * w
        return loss, gradients
