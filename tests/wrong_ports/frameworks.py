"""Enters the ports in frameworks. Their modules are imported when one is used."""

import functools

from .entry import (
    ALTERNATE,
    HEAD_RELUS,
    HEAD_WEIGHTS,
    LOSSES,
    OPTIMIZERS,
    PRODUCTS,
    RELUS,
    WEIGHTS,
    edit,
    real,
)
from .gradients import frozen
from .losses import JOINT_AVERAGE

AFTER = edit("epsilon place", OPTIMIZERS, "after the correction")
BIASES = edit("bias added", RELUS)
DECAY = edit("weight decay", WEIGHTS, 0.01)
HALF_AT_ZERO = edit("slope at zero", RELUS, 0.5)
KERAS_EPSILON = edit("epsilon", OPTIMIZERS, 1e-7)
LINEAR_HEADS = edit("activation missing", HEAD_RELUS)
LOSS_AFTER = edit("loss after the update", OPTIMIZERS)
MEAN_SQUARED = edit("mean over outputs", LOSSES, 1.0)
MORE = edit("trains more", OPTIMIZERS)
NESTEROV = edit("nesterov", OPTIMIZERS)
NO_HALF = edit("loss scaled", LOSSES, 2.0)
NOT_ZEROED = edit("gradients accumulate", WEIGHTS)
SHARED_SLOTS = edit("slots shared", OPTIMIZERS)
TWO_STEPS = edit("two steps", "Optimiser")
UNLISTED = [edit("unlisted", OPTIMIZERS)]


def other(optimizer):
    return edit("other optimizer", OPTIMIZERS, optimizer)


def schedule(name):
    return edit("schedule", OPTIMIZERS, name)


def one_optimizer(*others):
    """Returns the answers that are right for one optimizer in place of three."""
    extra = edit("powers shared", OPTIMIZERS), edit("step counter", OPTIMIZERS)
    return [[SHARED_SLOTS, one, *others] for one in extra]


pytorch = functools.partial(real, "pytorch")

for name in (
    *("Conformant", "NormSquared", "MeanTimesNumel", "SumOfMse", "EinsumLoss"),
    *("ZeroGradOfOptimizer", "ByHand"),
):
    pytorch(name)
pytorch("RandomBias", BIASES)
pytorch("ZeroBias", BIASES)
pytorch("ReluNotAssigned", edit("activation missing", "Relu_1"))
pytorch("LeakyHeads", edit("other activation", HEAD_RELUS, "leaky relu, slope 0.01"))
pytorch("Detached", edit("gradient stopped", "MatMul_2"))
pytorch("Autocast", edit("precision of products", PRODUCTS))
pytorch("Double", edit("wrong dtype", WEIGHTS, "float64"))
pytorch("OwnTrunks", edit("variable not shared", "share_W"), also=[[edit("unlisted", "share_W")]])
pytorch("Mse", MEAN_SQUARED)
pytorch("MseSum", NO_HALF)
pytorch("SmoothL1", edit("other loss", LOSSES, "huber"))
pytorch("Averaged", JOINT_AVERAGE)
pytorch("LossPerSample", edit("reported loss scaled", LOSSES), also=[[edit("unlisted", LOSSES)]])
pytorch("LossAfterStep", LOSS_AFTER)
pytorch("NoZeroGrad", NOT_ZEROED)
pytorch("ZeroGradTooLate", frozen(WEIGHTS))
pytorch("StepFirst", edit("gradients stale", OPTIMIZERS))
pytorch("ClippedNorm", edit("clipped by global norm", OPTIMIZERS, 1.0))
pytorch("ClippedValue", edit("clipped by value", WEIGHTS, 0.5))
pytorch("Frozen", frozen("share_W"))
pytorch("Rebuilt", edit("state reset", OPTIMIZERS, "each step"))
pytorch("Stepped", schedule("exponential"))
pytorch("Adam", AFTER)
pytorch("AdamW", AFTER, DECAY)
pytorch("L2", AFTER, edit("L2 in the gradient", WEIGHTS, 0.01))
pytorch("Amsgrad", AFTER, edit("amsgrad", OPTIMIZERS))
# Its rate is 0.002, and it has a schedule of the momentum.
pytorch("NAdam", NESTEROV, also=[[NESTEROV, edit("learning rate", OPTIMIZERS, 0.002)], UNLISTED])
pytorch("RMSprop", other("rmsprop of pytorch"))
pytorch("SGD", other("momentum"))
pytorch("FasterHeads", edit("learning rate", HEAD_WEIGHTS, 0.01))
pytorch("OneAdam", SHARED_SLOTS, AFTER, also=one_optimizer(AFTER))
# What moves the resting head may stay unnamed.
WITH_ZEROS = [[SHARED_SLOTS, AFTER], *one_optimizer(MORE, AFTER)]
pytorch("OneAdamZeros", SHARED_SLOTS, MORE, AFTER, also=WITH_ZEROS)
pytorch("Untransposed", edit("weights transposed", WEIGHTS))
# Biases that start at random hide epsilon, and the report says so.
pytorch("Typical", BIASES, MEAN_SQUARED, AFTER, also=[[BIASES, MEAN_SQUARED]])
pytorch("TypicalZeroBias", BIASES, MEAN_SQUARED, AFTER)
pytorch("TypicalLinearHeads", LINEAR_HEADS, MEAN_SQUARED, AFTER)
pytorch(
    "TypicalOneAdam", MEAN_SQUARED, SHARED_SLOTS, AFTER, also=one_optimizer(MEAN_SQUARED, AFTER)
)
pytorch("SumAdam", NO_HALF, AFTER)
pytorch("AdamWMse", MEAN_SQUARED, AFTER, DECAY)
pytorch("NoZeroGradMse", NOT_ZEROED, MEAN_SQUARED, AFTER)

jax = functools.partial(real, "jax_optax")

for name in ("Conformant", "PerExample", "AllParameters", "OptaxL2"):
    jax(name)
jax("Adam", AFTER)
jax("AdamMean", MEAN_SQUARED, AFTER)
jax("AdamL2Mean", edit("mean over outputs", LOSSES, 0.5), AFTER)
jax("AdamW", AFTER, DECAY)
jax("ClippedAdam", edit("clipped by global norm", OPTIMIZERS, 1.0), AFTER)
jax("EpsilonInRoot", edit("epsilon place", OPTIMIZERS, "inside the corrected root"))
jax("Nesterov", NESTEROV, also=[[NESTEROV, AFTER], UNLISTED])
jax("Decayed", schedule("exponential"), AFTER)
jax("WarmUp", schedule("warm-up"), AFTER, also=[UNLISTED])
jax("Momentum", other("momentum"))
jax("Huber", edit("other loss", LOSSES, "huber"))
jax("JnpMaximum", HALF_AT_ZERO)
jax("JnpMaximumAdam", HALF_AT_ZERO, AFTER)
jax("StopGradient", edit("gradient stopped", "MatMul_1"))
jax("Bfloat16", edit("precision of products", PRODUCTS))
jax("FirstArgument", frozen(HEAD_WEIGHTS))
jax("LossOfNewParams", LOSS_AFTER, AFTER)
jax("OneState", SHARED_SLOTS, MORE, AFTER, also=WITH_ZEROS)
jax("BiasedMean", BIASES, MEAN_SQUARED, AFTER)

keras = functools.partial(real, "keras3")

keras("Conformant")
keras("Adam", KERAS_EPSILON)
keras("Mse", MEAN_SQUARED, KERAS_EPSILON)
keras("Typical", BIASES, MEAN_SQUARED, KERAS_EPSILON)
keras("LinearHeads", LINEAR_HEADS)
keras("LeakyShared", edit("other activation", "Relu", "leaky relu, slope 0.2"))
keras("LossWeights", edit("loss weight in the sum", "L2Loss_1", 0.3))
keras("FrozenShared", frozen("share_W"))
keras("ClipNorm", edit("clipped by norm", OPTIMIZERS, 1.0))
keras("RegularizedShared", edit("penalty in the loss", "share_W", 0.02))
keras("Nadam", NESTEROV, also=[UNLISTED])
keras("ForgetsHead2", edit("initial weights", "share_Y2"))
keras("Decayed", schedule("exponential"))

tensorflow2 = functools.partial(real, "tensorflow2")

tensorflow2("Conformant")
tensorflow2("Function")
tensorflow2("Adam", KERAS_EPSILON)
tensorflow2("AdamFunction", KERAS_EPSILON)
tensorflow2("ReduceMean", MEAN_SQUARED, KERAS_EPSILON)
tensorflow2("KerasMse", edit("unlisted", LOSSES), also=[[MEAN_SQUARED]])
tensorflow2("OneAdam", SHARED_SLOTS, KERAS_EPSILON, also=one_optimizer(KERAS_EPSILON))
tensorflow2("OneAdamFunction", SHARED_SLOTS, also=one_optimizer())
tensorflow2("JointTape", edit("trains more", ALTERNATE))
tensorflow2("StopGradient", edit("gradient stopped", "MatMul_2"))
tensorflow2("TwoApplications", TWO_STEPS, also=[[edit("unlisted", "Optimiser")]])
tensorflow2("ClippedByNorm", edit("clipped by norm", WEIGHTS, 5.0))
tensorflow2("LossAfter", LOSS_AFTER, KERAS_EPSILON)
tensorflow2(
    "Float16",
    edit("precision of products", PRODUCTS, "float16"),
    also=[[edit("precision of products", PRODUCTS)]],
)

tensorflow1 = functools.partial(real, "tensorflow1")

tensorflow1("Conformant")
tensorflow1("OneOptimizer", SHARED_SLOTS, also=one_optimizer())
tensorflow1("Maximum", edit("slope at zero", RELUS, 1.0))
tensorflow1("SumOfSquares", edit("loss scaled", "L2Loss_1", 2.0))
tensorflow1("HeadsOnly", frozen(("Y1_op/share_W", "Y2_op/share_W")))
tensorflow1("BothOps", TWO_STEPS)
tensorflow1("InitializedAgain", edit("state reset", OPTIMIZERS, "on task change"))
