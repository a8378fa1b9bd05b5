"""Ports that train more, less or in another order than a run does, and what ports return."""

import numpy as np

from .base import Plain
from .entry import (
    ALTERNATE,
    HEAD_WEIGHTS,
    LOSSES,
    OPTIMIZERS,
    WEIGHTS,
    edit,
    mistake,
    wrong,
    wrong_class,
)

OTHER = {"Y1": "Y2", "Y2": "Y1"}
BOTH = {"Y1": "joint", "Y2": "joint"}
UNLISTED = [[edit("unlisted", OPTIMIZERS)]]


# What a run trains


@wrong_class("every-run-trains-both", edit("trains more", ALTERNATE))
@wrong_class("Y1-trains-both", edit("trains more", "Y1_op"), other={"Y1": "joint"})
@wrong_class(
    "joint-trains-task-1",
    edit("trains less", "Optimiser"),
    also=[[edit("loss weight in the sum", "L2Loss_1", 0.0)]],
    other={"joint": "Y1"},
)
class TrainsOther(Plain):
    """A run sums the losses of another, whichever op is fetched: those of both, or of one."""

    other = BOTH

    def trained_heads(self, task):
        return super().trained_heads(self.other.get(task, task))


@wrong_class("every-run-trains-both-reports-own", edit("trains more", ALTERNATE))
@wrong_class(
    "joint-reports-both-trains-task-1", edit("trains less", "Optimiser"), other={"joint": "Y1"}
)
class TrainsOtherReportsOwn(Plain):
    """A run differentiates the loss of another and returns its own."""

    other = BOTH

    def loss_and_gradients(self, task, X, labels):
        loss, _ = super().loss_and_gradients(task, X, labels)
        return loss, super().loss_and_gradients(self.other.get(task, task), X, labels)[1]


# The check names Optimiser too, which trains both anyway.
@wrong_class("every-run-trains-both-heads", edit("trains more", OPTIMIZERS))
class TrainsBothHeads(Plain):
    """The Y1 run trains head 2 on its own loss too, and the other way round."""

    def loss_and_gradients(self, task, X, labels):
        loss, gradients = super().loss_and_gradients(task, X, labels)
        both = super().loss_and_gradients("joint", X, labels)[1]
        return loss, {**both, **gradients}


@wrong_class("tasks-swapped", edit("feeds swapped", ALTERNATE))
class TasksSwapped(Plain):
    """The Y1 run trains task 2 and the other way round."""

    def step(self, task, *given):
        return super().step(OTHER.get(task, task), *given)


@wrong_class("joint-in-turn", edit("two steps", "Optimiser"))
@wrong_class("joint-in-turn-2-first", edit("two steps", "Optimiser"), order=["Y2", "Y1"])
class JointInTurn(Plain):
    """A joint run is a Y1 run and a Y2 run. Their losses are added."""

    order = "Y1", "Y2"

    def step(self, task, *given):
        if task != "joint":
            return super().step(task, *given)
        return sum(super(JointInTurn, self).step(one, *given) for one in self.order)


@wrong_class("joint-in-turn-one-optimizer", edit("two steps", "Optimiser"))
class JointInTurnOneOptimizer(JointInTurn):
    """... in the slots of Optimiser, which counts both."""

    inside = False

    def step(self, task, *given):
        self.inside = task == "joint"
        return super().step(task, *given)

    def apply(self, optimizer, gradients):
        super().apply("Optimiser" if self.inside else optimizer, gradients)


@wrong_class(
    "joint-in-turn-reports-joint",
    edit("two steps", "Optimiser"),
    edit("loss of another task", ALTERNATE),
)
class JointInTurnReportsJoint(JointInTurn):
    """... and every run returns the joint loss of the weights before it."""

    def step(self, task, X, Y1, Y2):
        before, _ = self.loss_and_gradients("joint", X, {"Y1": Y1, "Y2": Y2})
        super().step(task, X, Y1, Y2)
        return before


@wrong_class("each-batch-twice", edit("step repeated", OPTIMIZERS, 2))
@wrong_class("Y1-twice", edit("step repeated", "Y1_op", 2), repeated=["Y1"])
class Repeated(Plain):
    """The op is fetched in two runs: each batch is trained on twice. The first loss is returned."""

    repeated = "Y1", "Y2", "joint"

    def step(self, task, *given):
        loss = super().step(task, *given)
        if task in self.repeated:
            super().step(task, *given)
        return loss


@wrong_class("skips-every-third", edit("step skipped", OPTIMIZERS, "every 3"), also=UNLISTED)
class SkipsEveryThird(Plain):
    """Every third run computes its loss and updates nothing."""

    def apply(self, optimizer, gradients):
        if self.done % 3 != 2:
            super().apply(optimizer, gradients)


@wrong_class("skips-first", edit("step skipped", OPTIMIZERS, "the first"), also=UNLISTED)
class SkipsFirst(Plain):
    """The first run only builds the model."""

    def apply(self, optimizer, gradients):
        if self.done:
            super().apply(optimizer, gradients)


@wrong_class(
    "accumulates-two",
    edit("gradients of several runs", OPTIMIZERS, "sum of the gradients of 2 runs"),
)
class AccumulatesTwo(Plain):
    """Gradients of two runs of a task are added before one update."""

    def apply(self, optimizer, gradients):
        if optimizer in self.kept:
            first = self.kept.pop(optimizer)
            super().apply(optimizer, {name: first[name] + g for name, g in gradients.items()})
        else:
            self.kept[optimizer] = gradients


# What is returned as the loss


@wrong_class("loss-after", edit("loss after the update", OPTIMIZERS))
@wrong_class("loss-after-in-joint", edit("loss after the update", "Optimiser"), late=["joint"])
class LossAfter(Plain):
    """The loss is computed after the update."""

    late = "Y1", "Y2", "joint"

    def step(self, task, X, Y1, Y2):
        loss = super().step(task, X, Y1, Y2)
        after, _ = self.loss_and_gradients(task, X, {"Y1": Y1, "Y2": Y2})
        return after if task in self.late else loss


@wrong_class("other-loss-returned", edit("loss of another task", ALTERNATE))
@wrong_class("joint-loss-returned", edit("loss of another task", ALTERNATE), shown=BOTH)
@wrong_class(
    "joint-returns-Y1-loss", edit("loss of another task", "Optimiser"), shown={"joint": "Y1"}
)
class LossOfAnother(Plain):
    """A run returns the loss of another task."""

    shown = OTHER

    def loss_and_gradients(self, task, X, labels):
        loss, _ = super().loss_and_gradients(self.shown.get(task, task), X, labels)
        return loss, super().loss_and_gradients(task, X, labels)[1]


def reported(kind, value, change):
    """Returns the mistake of a loss that is changed when it is returned."""
    return mistake(kind, OPTIMIZERS, value, reported=lambda self, task, loss: change(loss))


def rounded(decimals):
    return reported("loss rounded", None, lambda loss: np.round(loss, decimals))


def half_precision(loss):
    return np.asarray(loss).astype(np.float16)


wrong("loss-rounded-2", rounded(2))
wrong(
    "loss-rounded-float16",
    reported("loss rounded", "float16", half_precision),
    also=[[edit("loss rounded", OPTIMIZERS)]],
)
wrong("loss-as-integer", reported("loss rounded", None, lambda loss: np.float32(int(loss))))


@wrong_class("loss-running-mean", edit("loss averaged", OPTIMIZERS))
class RunningMean(Plain):
    """The mean of all losses so far is returned, as a progress bar shows it."""

    def reported(self, task, loss):
        losses = self.kept.setdefault("losses", [])
        losses.append(loss)
        return np.float32(np.mean(losses))


@wrong_class("loss-smoothed", edit("loss averaged", OPTIMIZERS))
class SmoothedLoss(Plain):
    """An exponential average of the losses is returned, as in the smoothing of TensorBoard."""

    def reported(self, task, loss):
        self.kept["mean"] = 0.9 * self.kept.get("mean", loss) + 0.1 * loss
        return np.float32(self.kept["mean"])


@wrong_class("loss-late", edit("loss late", OPTIMIZERS))
class LossLate(Plain):
    """The loss of the run before is returned."""

    def reported(self, task, loss):
        before, self.kept["loss"] = self.kept.get("loss", np.float32(0)), loss
        return before


def times(factor):
    """Returns a `reported` that multiplies the loss, which is trained on as it should be."""
    return lambda self, task, loss: np.float32(loss * factor)


for id, places, factor, method in (
    ("loss-reported-doubled", LOSSES, 2.0, times(2)),
    ("loss-reported-times-1.54", LOSSES, 1.54, times(np.float32(1.54))),
    ("loss-of-Y1-reported-doubled", "L2Loss", 2.0, {"Y1": times(2)}),  # but not the joint loss
    ("joint-loss-reported-doubled", "add", 2.0, {"joint": times(2)}),
    ("loss-reported-times-1.000005", LOSSES, 1.000005, times(np.float64(1.000005))),
):
    wrong(id, mistake("reported loss scaled", places, factor, reported=method))


# What is returned as the weights


@wrong_class("weights-late", edit("weights late", WEIGHTS))
@wrong_class("head-1-shown-late", edit("weights late", "share_Y1"), late=["share_Y1"])
class WeightsLate(Plain):
    """`weights()` gives what was copied before the last update."""

    late = WEIGHTS

    def apply(self, optimizer, gradients):
        self.kept = {name: self.w[name] for name in self.late}
        super().apply(optimizer, gradients)

    def weights(self):
        return {**super().weights(), **self.kept}


@wrong_class(
    "initial-weights-shown",
    edit("variable frozen", WEIGHTS),
    also=[[edit("weights late", WEIGHTS)], [edit("unlisted", WEIGHTS)]],
)
class InitialWeightsShown(Plain):
    """`weights()` gives the initial arrays for ever: the copy was taken when it was built."""

    def __init__(self, *weights):
        super().__init__(*weights)
        self.initial = super().weights()

    def weights(self):
        return self.initial


@wrong_class("weights-transposed", edit("weights transposed", WEIGHTS))
class Transposed(Plain):
    """`weights()` gives [outputs, inputs], as `nn.Linear` stores them."""

    def weights(self):
        return {name: w.T for name, w in super().weights().items()}


@wrong_class("heads-transposed-where-square", edit("weights transposed", HEAD_WEIGHTS))
class HeadsTransposed(Plain):
    """The heads are taken as [outputs, inputs] where they are square, as in the article."""

    def __init__(self, share_W, *heads):
        super().__init__(share_W, *(self.transposed(w) for w in heads))

    @staticmethod
    def transposed(w):
        return w.T if w.shape[0] == w.shape[1] else w

    def weights(self):
        shown = super().weights()
        return {**shown, **{name: self.transposed(shown[name]) for name in HEAD_WEIGHTS}}


@wrong_class(
    "heads-swapped-in-weights",
    edit("initial weights", HEAD_WEIGHTS),
    also=[[edit("unlisted", HEAD_WEIGHTS)], [edit("feeds swapped", HEAD_WEIGHTS)]],
)
class HeadsSwapped(Plain):
    """`weights()` gives each head under the name of the other."""

    def weights(self):
        shown = super().weights()
        return {**shown, "share_Y1": shown["share_Y2"], "share_Y2": shown["share_Y1"]}
