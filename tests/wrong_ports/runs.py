"""Ports that train more, less or in another order than a run does, and what ports return."""

import numpy as np

from .base import HEADS, Plain
from .base import OPTIMIZERS as OPTIMIZER_OF
from .entry import HEAD_WEIGHTS, LOSSES, OPTIMIZERS, WEIGHTS, edit, wrong

OTHER = {"Y1": "Y2", "Y2": "Y1"}


class TrainsJoint(Plain):
    """Every run sums both losses, whichever op is fetched, and trains both heads."""

    def trained_heads(self, task):
        return tuple(HEADS)


class TrainsJointReportsOwn(TrainsJoint):
    """... and returns the loss of its own task."""

    def step(self, task, X, Y1, Y2):
        own, _ = self.loss_and_gradients_of(task, X, {"Y1": Y1, "Y2": Y2})
        super().step(task, X, Y1, Y2)
        return own

    def loss_and_gradients_of(self, task, X, labels):
        alone = Plain(**self.weights())
        return alone.loss_and_gradients(task, X, labels)


class Y1TrainsBoth(TrainsJoint):
    """Only the Y1 run sums both losses."""

    def trained_heads(self, task):
        return Plain.trained_heads(self, "joint" if task == "Y1" else task)


class JointTrainsTask1(Plain):
    """The joint run forgets Y2_Loss."""

    def trained_heads(self, task):
        return ("Y1",) if task == "joint" else (task,)


class JointReportsBothTrainsTask1(Plain):
    """The joint run reports the sum but differentiates Y1_Loss."""

    def loss_and_gradients(self, task, X, labels):
        loss, gradients = super().loss_and_gradients(task, X, labels)
        if task == "joint":
            gradients = super().loss_and_gradients("Y1", X, labels)[1]
        return loss, gradients


class TasksSwapped(Plain):
    """The Y1 run trains task 2 and the other way round."""

    def step(self, task, X, Y1, Y2):
        return super().step(OTHER.get(task, task), X, Y1, Y2)


class JointInTurn(Plain):
    """A joint run is a Y1 run and a Y2 run. Their losses are added."""

    order = "Y1", "Y2"

    def step(self, task, X, Y1, Y2):
        if task != "joint":
            return super().step(task, X, Y1, Y2)
        return sum(super(JointInTurn, self).step(one, X, Y1, Y2) for one in self.order)


class JointInTurnSecondFirst(JointInTurn):
    order = "Y2", "Y1"


class JointInTurnOneOptimizer(JointInTurn):
    """... in the slots of Optimiser, which counts both."""

    inside = False

    def step(self, task, *given):
        self.inside = task == "joint"
        return super().step(task, *given)

    def apply(self, optimizer, gradients):
        super().apply("Optimiser" if self.inside else optimizer, gradients)


class Repeated(Plain):
    """Each batch is trained on twice. The first loss is returned."""

    def step(self, *given):
        loss = super().step(*given)
        super().step(*given)
        return loss


class RepeatedY1(Plain):
    """The Y1 run trains twice: the op is fetched in two `session.run`s."""

    def step(self, task, *given):
        loss = super().step(task, *given)
        if task == "Y1":
            super().step(task, *given)
        return loss


class SkipsEveryThird(Plain):
    """Every third run computes its loss and updates nothing."""

    def apply(self, optimizer, gradients):
        if self.done % 3 != 2:
            super().apply(optimizer, gradients)


class SkipsFirst(Plain):
    """The first run only builds the model."""

    def apply(self, optimizer, gradients):
        if self.done:
            super().apply(optimizer, gradients)


class AccumulatesTwo(Plain):
    """Gradients of two runs of a task are added before one update."""

    def apply(self, optimizer, gradients):
        waiting = self.__dict__.setdefault("waiting", {})
        if optimizer in waiting:
            first = waiting.pop(optimizer)
            super().apply(optimizer, {name: first[name] + g for name, g in gradients.items()})
        else:
            waiting[optimizer] = gradients


# What is returned


class LossAfter(Plain):
    """The loss is computed after the update."""

    tasks = tuple(OPTIMIZER_OF)

    def step(self, task, X, Y1, Y2):
        loss = super().step(task, X, Y1, Y2)
        if task not in self.tasks:
            return loss
        return self.loss_and_gradients(task, X, {"Y1": Y1, "Y2": Y2})[0]


class LossAfterInJoint(LossAfter):
    tasks = ("joint",)


class OtherLoss(Plain):
    """A run of a task returns the loss of the other task."""

    def step(self, task, X, Y1, Y2):
        labels = {"Y1": Y1, "Y2": Y2}
        other = self.loss_and_gradients(OTHER.get(task, task), X, labels)[0]
        super().step(task, X, Y1, Y2)
        return other


class JointLoss(OtherLoss):
    """Every run returns Joint_Loss."""

    def step(self, task, X, Y1, Y2):
        both = self.loss_and_gradients("joint", X, {"Y1": Y1, "Y2": Y2})[0]
        Plain.step(self, task, X, Y1, Y2)
        return both


class JointReturnsY1(Plain):
    """The joint run returns Y1_Loss and trains on both."""

    def step(self, task, X, Y1, Y2):
        shown = "Y1" if task == "joint" else task
        loss = self.loss_and_gradients(shown, X, {"Y1": Y1, "Y2": Y2})[0]
        super().step(task, X, Y1, Y2)
        return loss


class RunningMean(Plain):
    """The mean of all losses so far is returned, as a progress bar shows it."""

    def reported(self, loss):
        losses = self.__dict__.setdefault("losses", [])
        losses.append(loss)
        return np.float32(np.mean(losses))


class SmoothedLoss(Plain):
    """An exponential average of the losses is returned, as in the smoothing of TensorBoard."""

    def reported(self, loss):
        self.average_loss = 0.9 * self.__dict__.get("average_loss", loss) + 0.1 * loss
        return np.float32(self.average_loss)


class TwiceInOneTask(Plain):
    """The loss of one task is returned times 2, that of the other runs as it is."""

    twice = "Y1"

    def step(self, task, X, Y1, Y2):
        loss = super().step(task, X, Y1, Y2)
        return loss * np.float32(2) if task == self.twice else loss


class TwiceInJoint(TwiceInOneTask):
    """The joint loss is returned times 2, those of the tasks as they are."""

    twice = "joint"


class LossLate(Plain):
    """The loss of the run before is returned."""

    def reported(self, loss):
        before = self.__dict__.get("before", np.float32(0))
        self.before = loss
        return before


class WeightsLate(Plain):
    """`weights()` gives what was copied before the last update."""

    late = WEIGHTS

    def apply(self, optimizer, gradients):
        self.shown = {name: self.w[name] for name in self.late}
        super().apply(optimizer, gradients)

    def weights(self):
        return {**super().weights(), **getattr(self, "shown", {})}


class Head1Late(WeightsLate):
    late = ("share_Y1",)


class InitialWeightsShown(Plain):
    """`weights()` gives the initial arrays for ever: the copy was taken when it was built."""

    def __init__(self, *weights):
        super().__init__(*weights)
        self.initial = super().weights()

    def weights(self):
        return self.initial


class Transposed(Plain):
    """`weights()` gives [outputs, inputs], as `nn.Linear` stores them."""

    def weights(self):
        return {name: w.T for name, w in super().weights().items()}


class HeadsTransposed(Plain):
    """The heads are taken as [outputs, inputs] where they are square, as in the article."""

    def __init__(self, share_W, share_Y1, share_Y2):
        super().__init__(share_W, *(w.T if self.square(w) else w for w in (share_Y1, share_Y2)))

    @staticmethod
    def square(w):
        return w.shape[0] == w.shape[1]

    def weights(self):
        shown = super().weights()
        return {name: w.T if "Y" in name and self.square(w) else w for name, w in shown.items()}


class HeadsSwapped(Plain):
    """`weights()` gives each head under the name of the other."""

    def weights(self):
        shown = super().weights()
        return {**shown, "share_Y1": shown["share_Y2"], "share_Y2": shown["share_Y1"]}


ENTRIES = (
    wrong(
        "every-run-trains-both",
        "every run trains on both losses",
        edit("trains more", ("Y1_op", "Y2_op")),
        base=TrainsJoint,
    ),
    wrong(
        "every-run-trains-both-reports-own",
        "every run trains on both losses, returns its own",
        edit("trains more", ("Y1_op", "Y2_op")),
        base=TrainsJointReportsOwn,
    ),
    wrong(
        "Y1-trains-both",
        "the Y1 run trains on both losses",
        edit("trains more", "Y1_op"),
        base=Y1TrainsBoth,
    ),
    wrong(
        "joint-trains-task-1",
        "the joint run forgets Y2_Loss",
        edit("trains less", "Optimiser"),
        also=[[edit("loss weight in the sum", "L2Loss_1", 0.0)]],
        base=JointTrainsTask1,
    ),
    wrong(
        "joint-reports-both-trains-task-1",
        "the joint run trains on Y1_Loss, returns the sum",
        edit("trains less", "Optimiser"),
        base=JointReportsBothTrainsTask1,
    ),
    wrong(
        "tasks-swapped",
        "the Y1 run trains task 2, the Y2 run task 1",
        edit("feeds swapped", OPTIMIZERS[1:]),
        base=TasksSwapped,
    ),
    wrong(
        "joint-in-turn",
        "a joint run is a Y1 run, then a Y2 run",
        edit("two steps", "Optimiser"),
        base=JointInTurn,
    ),
    wrong(
        "joint-in-turn-2-first",
        "a joint run is a Y2 run, then a Y1 run",
        edit("two steps", "Optimiser"),
        base=JointInTurnSecondFirst,
    ),
    wrong(
        "joint-in-turn-one-optimizer",
        "a joint run is two steps of Optimiser, one a task",
        edit("two steps", "Optimiser"),
        base=JointInTurnOneOptimizer,
    ),
    wrong(
        "each-batch-twice",
        "each batch is trained on twice",
        edit("step repeated", OPTIMIZERS, 2),
        base=Repeated,
    ),
    wrong(
        "Y1-twice", "the Y1 run trains twice", edit("step repeated", "Y1_op", 2), base=RepeatedY1
    ),
    wrong(
        "skips-every-third",
        "every third run updates nothing",
        edit("step skipped", OPTIMIZERS, "every 3"),
        also=[[edit("unlisted", OPTIMIZERS)]],
        base=SkipsEveryThird,
    ),
    wrong(
        "skips-first",
        "the first run updates nothing",
        edit("step skipped", OPTIMIZERS, "the first"),
        also=[[edit("unlisted", OPTIMIZERS)]],
        base=SkipsFirst,
    ),
    wrong(
        "accumulates-two",
        "an optimizer updates on every second run, with both gradients",
        edit("gradients accumulate", OPTIMIZERS),
        also=[[edit("step skipped", OPTIMIZERS)], [edit("unlisted", OPTIMIZERS)]],
        base=AccumulatesTwo,
    ),
    wrong(
        "loss-after",
        "the loss is that after the update",
        edit("loss after the update", OPTIMIZERS),
        base=LossAfter,
    ),
    wrong(
        "loss-after-in-joint",
        "the joint run returns the loss after the update",
        edit("loss after the update", "Optimiser"),
        base=LossAfterInJoint,
    ),
    wrong(
        "other-loss-returned",
        "the Y1 run returns Y2_Loss and the other way round",
        edit("loss of another task", OPTIMIZERS[1:]),
        base=OtherLoss,
    ),
    wrong(
        "joint-loss-returned",
        "every run returns Joint_Loss",
        edit("loss of another task", OPTIMIZERS[1:]),
        base=JointLoss,
    ),
    wrong(
        "joint-returns-Y1-loss",
        "the joint run returns Y1_Loss",
        edit("loss of another task", "Optimiser"),
        base=JointReturnsY1,
    ),
    wrong(
        "loss-rounded-2",
        "the loss is rounded to 2 decimals",
        edit("loss rounded", OPTIMIZERS),
        reported=lambda self, loss: np.round(loss, 2),
    ),
    wrong(
        "loss-rounded-float16",
        "the loss is returned in float16",
        edit("loss rounded", OPTIMIZERS, "float16"),
        also=[[edit("loss rounded", OPTIMIZERS)]],
        reported=lambda self, loss: np.asarray(loss).astype(np.float16),
    ),
    wrong(
        "loss-as-integer",
        "the loss is returned as an integer",
        edit("loss rounded", OPTIMIZERS),
        reported=lambda self, loss: np.float32(int(loss)),
    ),
    wrong(
        "loss-running-mean",
        "the mean of all losses so far is returned",
        edit("loss averaged", OPTIMIZERS),
        base=RunningMean,
    ),
    wrong(
        "loss-smoothed",
        "an exponential average of the losses is returned",
        edit("loss averaged", OPTIMIZERS),
        base=SmoothedLoss,
    ),
    wrong(
        "loss-late",
        "the loss of the run before is returned",
        edit("loss late", OPTIMIZERS),
        base=LossLate,
    ),
    wrong(
        "loss-reported-doubled",
        "the loss is reported times 2, trained on as it should be",
        edit("reported loss scaled", LOSSES, 2.0),
        reported=lambda self, loss: loss * 2,
    ),
    wrong(
        "loss-of-Y1-reported-doubled",
        "the loss of Y1 is reported times 2, the joint loss as it is",
        edit("reported loss scaled", "L2Loss", 2.0),
        base=TwiceInOneTask,
    ),
    wrong(
        "joint-loss-reported-doubled",
        "the joint loss is reported times 2, those of Y1 and Y2 as they are",
        edit("reported loss scaled", "add", 2.0),
        base=TwiceInJoint,
    ),
    wrong(
        "loss-reported-times-1.000005",
        "the loss is reported times 1.000005",
        edit("reported loss scaled", LOSSES, 1.000005),
        reported=lambda self, loss: np.float32(float(loss) * 1.000005),
    ),
    wrong(
        "weights-late",
        "weights() shows the weights of one run before",
        edit("weights late", WEIGHTS),
        base=WeightsLate,
    ),
    wrong(
        "head-1-shown-late",
        "weights() shows share_Y1 of one run before",
        edit("weights late", "share_Y1"),
        base=Head1Late,
    ),
    wrong(
        "initial-weights-shown",
        "weights() always shows the initial weights",
        edit("variable frozen", WEIGHTS),
        also=[
            [edit("weights late", WEIGHTS)],
            [edit("unlisted", WEIGHTS)],
        ],
        base=InitialWeightsShown,
    ),
    wrong(
        "weights-transposed",
        "weights() returns [outputs, inputs]",
        edit("weights transposed", WEIGHTS),
        base=Transposed,
    ),
    wrong(
        "heads-transposed-where-square",
        "square heads are used as their transpose",
        edit("weights transposed", HEAD_WEIGHTS),
        base=HeadsTransposed,
    ),
    wrong(
        "heads-swapped-in-weights",
        "weights() gives each head under the other's name",
        edit("initial weights", HEAD_WEIGHTS),
        also=[
            [edit("unlisted", HEAD_WEIGHTS)],
            [edit("feeds swapped", HEAD_WEIGHTS)],
        ],
        base=HeadsSwapped,
    ),
)
