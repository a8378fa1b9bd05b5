"""Ports with two, three or four mistakes at once, as first ports have them."""

from .correct import DoubleInside
from .entry import (
    ALTERNATE,
    HEAD_RELUS,
    LOSSES,
    OPTIMIZERS,
    PRODUCTS,
    RELUS,
    WEIGHTS,
    edit,
    wrong,
    wrong_class,
)
from .feeds import SWAPPED, scaled
from .forward import bias, leaky, linear, precision, rounded_to_tf32, tanh
from .gradients import DETACHED_HEAD_2, Accumulated, HeadsMoveFirst, clipped_by_global_norm, frozen
from .losses import JOINT_AVERAGE, absolute_error, mean_over_batch, mean_over_outputs, penalty
from .losses import scaled as loss_scaled
from .optimizers import (
    after_correction,
    amsgrad,
    beta1,
    beta2,
    decay,
    epsilon,
    no_correction,
    rate,
    schedule,
    sgd,
)
from .runs import JointInTurn, LossAfter, TasksSwapped, TrainsOther, rounded
from .state import ONE_OPTIMIZER, POWERS_SHARED, Bfloat16, Reset

# Mistakes that many of these share
AFTER = after_correction(OPTIMIZERS)
BIASES = bias(RELUS)
KERAS_EPSILON = epsilon(OPTIMIZERS, 1e-7)
MEAN_SQUARED = mean_over_outputs(LOSSES, 1.0)
NO_HALF = loss_scaled(LOSSES, 2.0)

# Pairs
wrong("mean-and-keras-epsilon", MEAN_SQUARED, KERAS_EPSILON)
wrong("mean-task-1-epsilon-Y2-op", mean_over_outputs("L2Loss", 1.0), epsilon("Y2_op", 1e-7))
wrong("no-relu-heads-epsilon-after", linear(HEAD_RELUS), AFTER)
wrong("swapped-labels-rate", SWAPPED, rate(OPTIMIZERS, 0.01))
wrong("swapped-labels-decay", SWAPPED, decay(WEIGHTS, 0.01))
wrong("frozen-head-2-mean-task-1", frozen("share_Y2"), mean_over_outputs("L2Loss", 0.5))
wrong("slots-shared-epsilon-after", ONE_OPTIMIZER, AFTER)
wrong("slots-shared-beta1", ONE_OPTIMIZER, beta1(OPTIMIZERS, 0.85))
wrong("biases-epsilon", BIASES, KERAS_EPSILON)
wrong("leaky-head-1-decay", leaky("Relu_1", 0.1), decay(WEIGHTS, 0.01))
wrong("X-scaled-no-relu-head-2", scaled("X", 1 / 255), linear("Relu_2"))
wrong("clip-mean", clipped_by_global_norm(OPTIMIZERS, 1.0), mean_over_batch(LOSSES, 0.5))
wrong("detached-head-2-beta1", DETACHED_HEAD_2, beta1("Y1_op", 0.8))
wrong("accumulated-epsilon-after", edit("gradients accumulate", WEIGHTS), AFTER, base=Accumulated)
wrong("loss-after-no-half", NO_HALF, edit("loss after the update", OPTIMIZERS), base=LossAfter)
wrong("in-turn-epsilon", edit("two steps", "Optimiser"), KERAS_EPSILON, base=JointInTurn)
wrong("two-optimizers-wrong", sgd("Y1_op", 1e-5), amsgrad("Optimiser"))
wrong("two-rates", rate("Y1_op", 0.002), rate("Y2_op", 0.0005))
wrong("rate-0.0007-epsilon-3e-6", rate(OPTIMIZERS, 0.0007), epsilon(OPTIMIZERS, 3e-6))
wrong("two-activations", tanh("Relu"), linear("Relu_2"))
wrong(
    "bfloat16-rate",
    edit("precision of variables", WEIGHTS, "bfloat16"),
    rate(OPTIMIZERS, 0.01),
    base=Bfloat16,
)

# Triples
wrong("no-relu-head-2-mean-epsilon", linear("Relu_2"), MEAN_SQUARED, KERAS_EPSILON)
wrong("biases-mean-epsilon-after", BIASES, MEAN_SQUARED, AFTER)  # nn.Linear, MSELoss, Adam
wrong("linear-heads-mean-epsilon-after", linear(HEAD_RELUS), MEAN_SQUARED, AFTER)
wrong("one-optimizer-mean-epsilon", ONE_OPTIMIZER, MEAN_SQUARED, KERAS_EPSILON)
wrong("bias-heads-average-decay", bias(HEAD_RELUS), JOINT_AVERAGE, decay(WEIGHTS, 0.01))
wrong("label-1-scaled-leaky-rate", scaled("Y1", 0.1), leaky(RELUS, 0.01), rate(OPTIMIZERS, 0.01))
wrong("tf32-no-half-epsilon-after", precision(PRODUCTS, "tf32", rounded_to_tf32), NO_HALF, AFTER)
wrong(
    "no-relu-shared-frozen-head-1-beta2",
    linear("Relu"),
    frozen("share_Y1"),
    beta2(OPTIMIZERS, 0.99),
)
wrong(
    "mean-decay-schedule",
    MEAN_SQUARED,
    decay(WEIGHTS, 0.01),
    schedule(OPTIMIZERS, "exponential", lambda t: 0.95**t),
)
wrong(
    "trains-both-no-half-rate",
    edit("trains more", ALTERNATE),
    NO_HALF,
    rate(OPTIMIZERS, 3e-4),
    base=TrainsOther,
)
wrong(
    "reset-mean-epsilon",
    edit("state reset", OPTIMIZERS, "each step"),
    MEAN_SQUARED,
    KERAS_EPSILON,
    base=Reset,
)
wrong(
    "absolute-task-2-no-correction-Y1-bias-shared",
    absolute_error("L2Loss_1"),
    no_correction("Y1_op"),
    bias("Relu"),
)
wrong("penalty-leaky-epsilon", penalty(WEIGHTS, 0.01), leaky("Relu_2", 0.2), epsilon("Y1_op", 1e-6))
wrong("rounded-loss-rate-head-scaled-label", rounded(1), rate("share_Y1", 0.002), scaled("Y2", 0.5))

# Four
wrong("four-at-once", bias("Relu_1"), linear("Relu_2"), MEAN_SQUARED, AFTER)

# A mistake beside a step in float64, which is cast back and right
for id, one in (
    ("labels-swapped", SWAPPED),
    ("shared-frozen", frozen("share_W")),
    ("no-relu-shared", linear("Relu")),
    ("no-relu-heads", linear(HEAD_RELUS)),
    ("no-relu-at-all", linear(RELUS)),
    ("no-half", NO_HALF),
    ("joint-average", JOINT_AVERAGE),
    ("epsilon-1e-7", KERAS_EPSILON),
    ("epsilon-after-correction", AFTER),
    ("powers-shared", POWERS_SHARED),
):
    wrong(f"{id}-in-double", one, base=DoubleInside)
wrong(
    "betas-swapped-in-double", beta1(OPTIMIZERS, 0.999), beta2(OPTIMIZERS, 0.9), base=DoubleInside
)


@wrong_class("tasks-swapped-in-double", edit("feeds swapped", ALTERNATE))
class TasksSwappedInDouble(TasksSwapped, DoubleInside):
    pass


@wrong_class("loss-after-in-double", edit("loss after the update", OPTIMIZERS))
class LossAfterInDouble(LossAfter, DoubleInside):
    pass


@wrong_class("accumulated-in-double", edit("gradients accumulate", WEIGHTS))
class AccumulatedInDouble(Accumulated, DoubleInside):
    pass


@wrong_class("shared-moves-first-in-double", edit("gradients after an update", "share_W"))
class SharedMovesFirstInDouble(HeadsMoveFirst, DoubleInside):
    first = ("share_W",)
