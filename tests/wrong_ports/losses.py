"""Ports whose loss is another: scaled, averaged, weighted, or another function."""

import numpy as np

from .base import Plain
from .entry import LOSSES, WEIGHTS, edit, wrong


def scaled_loss(factor, places=LOSSES):
    """Return a `loss` that is multiplied, with its gradient, by a number or a function of shape."""

    def loss(self, name, output, label):
        value, gradient = Plain.loss(self, name, output, label)
        if name not in places:
            return value, gradient
        times = np.float32(factor(*output.shape) if callable(factor) else factor)
        return value * times, gradient * times

    return loss


def other_loss(function, slope, places=LOSSES):
    """Return a `loss` that sums a function of each difference."""

    def loss(self, name, output, label):
        if name not in places:
            return Plain.loss(self, name, output, label)
        error = output - label
        return np.sum(function(error)), slope(error)

    return loss


def mean_squared(rows, columns):
    return 2 / (rows * columns)


def half_mean_squared(rows, columns):
    return 1 / (rows * columns)


def mean_over_rows(rows, columns):
    return 2 / rows


def half_mean_over_rows(rows, columns):
    return 1 / rows


def huber(delta):
    return (
        lambda e: np.where(np.abs(e) < delta, e * e / 2, delta * (np.abs(e) - delta / 2)),
        lambda e: np.clip(e, -delta, delta),
    )


ABSOLUTE = (np.abs, np.sign)
LOG_COSH = (lambda e: np.logaddexp(e, -e) - np.float32(np.log(2)), np.tanh)


class RootOfSquares(Plain):
    """The norm of the difference, not half of its square."""

    def loss(self, name, output, label):
        error = output - label
        norm = np.sqrt(np.sum(error * error))
        return norm, error / np.maximum(norm, np.float32(1e-12))


class Penalty(Plain):
    """An L2 penalty of some variables is part of every loss that they are trained on."""

    factor = 0.01
    penalized = WEIGHTS

    def loss_and_gradients(self, task, X, labels):
        loss, gradients = super().loss_and_gradients(task, X, labels)
        for name in set(gradients) & set(self.penalized):
            w = self.w[name]
            loss = loss + np.sum(w * w) * np.float32(self.factor / 2)
            gradients[name] = gradients[name] + np.float32(self.factor) * w
        return loss, gradients


class PenaltyOfHead2(Penalty):
    factor = 0.5
    penalized = ("share_Y2",)


class PenaltyOfSharedLayer(Penalty):
    factor = 0.001
    penalized = ("share_W",)


ENTRIES = (
    wrong(
        "no-half",
        "the loss is the sum of squares, without the half",
        edit("loss scaled", LOSSES, 2.0),
        loss=scaled_loss(2),
    ),
    wrong(
        "no-half-task-2",
        "Y2_Loss is the sum of squares, without the half",
        edit("loss scaled", "L2Loss_1", 2.0),
        loss=scaled_loss(2, ["L2Loss_1"]),
    ),
    wrong(
        "loss-tenth-task-1",
        "Y1_Loss is multiplied by 0.1",
        edit("loss scaled", "L2Loss", 0.1),
        loss=scaled_loss(0.1, ["L2Loss"]),
    ),
    wrong(
        "loss-times-0.7",
        "both losses are multiplied by 0.7",
        edit("loss scaled", LOSSES, 0.7),
        loss=scaled_loss(0.7),
    ),
    wrong(
        "mean-squared",
        "the loss is the mean of squares over all outputs",
        edit("mean over outputs", LOSSES, 1.0),
        loss=scaled_loss(mean_squared),
    ),
    wrong(
        "mean-squared-task-1",
        "Y1_Loss is the mean of squares over all outputs",
        edit("mean over outputs", "L2Loss", 1.0),
        loss=scaled_loss(mean_squared, ["L2Loss"]),
    ),
    wrong(
        "mean-squared-task-2",
        "Y2_Loss is the mean of squares over all outputs",
        edit("mean over outputs", "L2Loss_1", 1.0),
        loss=scaled_loss(mean_squared, ["L2Loss_1"]),
    ),
    wrong(
        "half-mean-squared",
        "the loss is half the mean of squares over all outputs",
        edit("mean over outputs", LOSSES, 0.5),
        loss=scaled_loss(half_mean_squared),
    ),
    wrong(
        "half-mean-squared-task-2",
        "Y2_Loss is half the mean of squares over all outputs",
        edit("mean over outputs", "L2Loss_1", 0.5),
        loss=scaled_loss(half_mean_squared, ["L2Loss_1"]),
    ),
    wrong(
        "mean-over-rows",
        "the loss is the sum of squares over the number of rows",
        edit("mean over batch", LOSSES, 1.0),
        loss=scaled_loss(mean_over_rows),
    ),
    wrong(
        "half-mean-over-rows-task-1",
        "Y1_Loss is l2_loss over the number of rows",
        edit("mean over batch", "L2Loss", 0.5),
        loss=scaled_loss(half_mean_over_rows, ["L2Loss"]),
    ),
    wrong(
        "mean-over-columns",
        "the loss is a mean over each row, summed over rows (keras MSE)",
        edit("unlisted", LOSSES),
        loss=scaled_loss(lambda rows, columns: 2 / columns),
    ),
    wrong(
        "joint-average",
        "Joint_Loss is the average of the two",
        edit("loss weight in the sum", LOSSES, 0.5),
        also=[[edit("loss scaled", "add", 0.5)]],
        loss_weight={"joint/L2Loss": 0.5, "joint/L2Loss_1": 0.5},
    ),
    wrong(
        "joint-weight-task-2",
        "Y2_Loss counts 0.3 in Joint_Loss",
        edit("loss weight in the sum", "L2Loss_1", 0.3),
        loss_weight={"joint/L2Loss_1": 0.3},
    ),
    wrong(
        "joint-weights-0.7-0.3",
        "Joint_Loss is 0.7 Y1_Loss + 0.3 Y2_Loss",
        edit("loss weight in the sum", "L2Loss", 0.7),
        edit("loss weight in the sum", "L2Loss_1", 0.3),
        loss_weight={"joint/L2Loss": 0.7, "joint/L2Loss_1": 0.3},
    ),
    wrong(
        "joint-difference",
        "Joint_Loss is Y1_Loss - Y2_Loss",
        edit("loss weight in the sum", "L2Loss_1", -1.0),
        loss_weight={"joint/L2Loss_1": -1.0},
    ),
    wrong(
        "absolute-error",
        "the loss is the sum of absolute errors",
        edit("other loss", LOSSES, "absolute error"),
        loss=other_loss(*ABSOLUTE),
    ),
    wrong(
        "absolute-error-task-2",
        "Y2_Loss is the sum of absolute errors",
        edit("other loss", "L2Loss_1", "absolute error"),
        loss=other_loss(*ABSOLUTE, places=["L2Loss_1"]),
    ),
    wrong(
        "huber",
        "the loss is the sum of the Huber loss",
        edit("other loss", LOSSES, "huber"),
        loss=other_loss(*huber(np.float32(1))),
    ),
    wrong(
        "huber-task-1",
        "Y1_Loss is the sum of the Huber loss",
        edit("other loss", "L2Loss", "huber"),
        loss=other_loss(*huber(np.float32(1)), places=["L2Loss"]),
    ),
    wrong(
        "log-cosh",
        "the loss is the sum of log-cosh",
        edit("other loss", LOSSES, "log-cosh"),
        loss=other_loss(*LOG_COSH),
    ),
    wrong(
        "root-of-squares",
        "the loss is the norm of the difference",
        edit("other loss", LOSSES, "norm"),
        also=[[edit("unlisted", LOSSES)]],
        base=RootOfSquares,
    ),
    wrong(
        "cubes",
        "the loss is the sum of |error|^3 / 3",
        edit("unlisted", LOSSES),
        loss=other_loss(lambda e: np.abs(e) ** 3 / 3, lambda e: e * np.abs(e)),
    ),
    wrong(
        "penalty",
        "an L2 penalty, 0.01 / 2 times the squares of the trained weights, is added",
        edit("penalty in the loss", WEIGHTS, 0.01),
        base=Penalty,
    ),
    wrong(
        "penalty-head-2",
        "an L2 penalty of share_Y2 (0.5 / 2 times its squares) is added",
        edit("penalty in the loss", "share_Y2", 0.5),
        base=PenaltyOfHead2,
    ),
    wrong(
        "penalty-shared",
        "an L2 penalty of share_W (0.001 / 2 times its squares) is added",
        edit("penalty in the loss", "share_W", 0.001),
        base=PenaltyOfSharedLayer,
    ),
)
