"""Ports with another Adam, another optimizer or another schedule."""

import numpy as np

from .base import Plain
from .entry import (
    HEAD_WEIGHTS,
    OPTIMIZERS,
    WEIGHTS,
    at,
    edit,
    method,
    mistake,
    setting,
    wrong,
    wrong_class,
)

epsilon = setting("epsilon", "epsilon")

for id, places, value in (
    ("epsilon-1e-7", OPTIMIZERS, 1e-7),  # as in Keras
    ("epsilon-1e-7-in-Y2-op", "Y2_op", 1e-7),
    ("epsilon-1e-7-in-joint", "Optimiser", 1e-7),
    ("epsilon-1e-3-in-Y1-op", "Y1_op", 1e-3),
    ("epsilon-1e-3", OPTIMIZERS, 1e-3),
    ("epsilon-1e-9", OPTIMIZERS, 1e-9),
    ("epsilon-1e-12", OPTIMIZERS, 1e-12),
    ("epsilon-7.7e-4", OPTIMIZERS, 7.7e-4),
    ("epsilon-5e-6", OPTIMIZERS, 5e-6),
    ("epsilon-0.1", OPTIMIZERS, 0.1),
):
    # Adam sees a factor of all gradients through epsilon alone.
    wrong(id, epsilon(places, value), also=[[edit("gradient scaled", places, 1e-8 / value)]])


@method("denominator", "epsilon")
def no_epsilon(self, optimizer, v, epsilon, powers):
    return np.where(v == 0, np.float32(1), np.sqrt(v))


@method("denominator", "epsilon place", "after the correction")
def after_correction(self, optimizer, v, epsilon, powers):
    """PyTorch and optax: epsilon is added to the corrected root."""
    return np.sqrt(v) + epsilon * np.sqrt(1 - powers[1])


@method("denominator", "epsilon place", "inside the root")
def inside_root(self, optimizer, v, epsilon, powers):
    return np.sqrt(v + epsilon)


@method("denominator", "epsilon place", "inside the corrected root")
def inside_corrected_root(self, optimizer, v, epsilon, powers):
    return np.sqrt(v + epsilon * (1 - powers[1]))


wrong("epsilon-none", no_epsilon(OPTIMIZERS))
wrong("epsilon-after-correction", after_correction(OPTIMIZERS))
wrong("epsilon-after-correction-in-Y1-op", after_correction("Y1_op"))
wrong("epsilon-inside-root", inside_root(OPTIMIZERS))
wrong("epsilon-inside-root-in-joint", inside_root("Optimiser"))
wrong("epsilon-inside-corrected-root", inside_corrected_root(OPTIMIZERS))

beta1, beta2 = setting("beta1", "beta1"), setting("beta2", "beta2")

wrong("beta1-0.8", beta1(OPTIMIZERS, 0.8))
wrong("beta1-0.5", beta1(OPTIMIZERS, 0.5))
wrong("beta1-0.385", beta1(OPTIMIZERS, 0.385))
wrong("beta1-0.5-in-Y2-op", beta1("Y2_op", 0.5))
wrong("beta2-0.99", beta2(OPTIMIZERS, 0.99))
wrong("beta2-0.7623", beta2(OPTIMIZERS, 0.7623))
wrong("beta2-0.98-in-Y1-op", beta2("Y1_op", 0.98))
wrong("betas-swapped", beta1(OPTIMIZERS, 0.999), beta2(OPTIMIZERS, 0.9))
wrong("betas-0.5-0.9", beta1(OPTIMIZERS, 0.5), beta2(OPTIMIZERS, 0.9))  # copied from a GAN

rate = setting("rate", "learning rate")

wrong("rate-0.01", rate(OPTIMIZERS, 0.01))
wrong("rate-0.0077", rate(OPTIMIZERS, 0.0077))
wrong("rate-3e-4-in-joint", rate("Optimiser", 3e-4))
wrong("rate-doubled-heads", rate(HEAD_WEIGHTS, 0.002))  # a parameter group
wrong("rate-tenth-shared", rate("share_W", 1e-4))  # a parameter group
wrong("rate-0.00077", rate(OPTIMIZERS, 0.00077))


@method("correction", "bias correction", "none")
def no_correction(self, optimizer, powers):
    return np.float32(1)


@method("correction", "bias correction", "first moment only")
def first_moment_only(self, optimizer, powers):
    return 1 / (1 - powers[0])


@method("correction", "bias correction", "second moment only")
def second_moment_only(self, optimizer, powers):
    return np.sqrt(1 - powers[1])


@method("correction", "bias correction", "without the root")
def root_forgotten(self, optimizer, powers):
    """The correction of v is not under the root."""
    return (1 - powers[1]) / (1 - powers[0])


@method("correction", "step counter", "starts at 2")
def ahead_by_one(self, optimizer, powers):
    """t is counted before it is used: the first step has t = 2."""
    beta1, beta2 = self.of("beta1", optimizer), self.of("beta2", optimizer)
    return np.sqrt(1 - powers[1] * beta2) / (1 - powers[0] * beta1)


@method("correction", "step counter", "starts at 3")
def ahead_by_two(self, optimizer, powers):
    beta1, beta2 = self.of("beta1", optimizer), self.of("beta2", optimizer)
    return np.sqrt(1 - powers[1] * beta2 * beta2) / (1 - powers[0] * beta1 * beta1)


UNLISTED = [[edit("unlisted", OPTIMIZERS)]]

wrong("no-correction", no_correction(OPTIMIZERS))
wrong("no-correction-in-Y2-op", no_correction("Y2_op"))
wrong("correction-of-m-only", first_moment_only(OPTIMIZERS))
wrong("correction-of-v-only", second_moment_only(OPTIMIZERS))
wrong("correction-without-root", root_forgotten(OPTIMIZERS), also=UNLISTED)
wrong("counter-starts-at-2", ahead_by_one(OPTIMIZERS))
wrong("counter-starts-at-3", ahead_by_two(OPTIMIZERS))
wrong("counter-starts-at-2-in-joint", ahead_by_one("Optimiser"))

decay = setting("decay", "weight decay")

wrong("adamw", decay(WEIGHTS, 0.01))
wrong("adamw-0.0001", decay(WEIGHTS, 0.0001))  # less than an ulp of many weights
wrong("adamw-0.0077", decay(WEIGHTS, 0.0077))
wrong("adamw-0.2-heads", decay(HEAD_WEIGHTS, 0.2))
wrong("adamw-shared", decay("share_W", 0.05))
wrong("adamw-in-Y2-op", decay("Y2_op", 0.1))


# Other rules: each returns what is subtracted. Those that move m and v as Adam does come first


def moments(self, optimizer, name, g, size=np.square):
    """Returns m, v and the rate with the correction, as in `Plain`."""
    m = self.average(optimizer, name, "m", g, np.float32(0.9))
    v = self.average(optimizer, name, "v", size(g), np.float32(0.999))
    powers = self.powers_for(optimizer)
    return m, v, self.of("rate", optimizer) * self.correction(optimizer, powers)


@method("rule", "nesterov")
def nesterov_adam(self, optimizer, name, g):
    """The step ahead of Dozat, as in `tf.contrib.opt.NadamOptimizer`."""
    m, v, alpha = moments(self, optimizer, name, g)
    ahead = np.float32(0.9) * m + np.float32(0.1) * g
    return alpha * ahead / (np.sqrt(v) + np.float32(1e-8))


@method("rule", "nesterov")
def nesterov_adam_after_correction(self, optimizer, name, g):
    """... with epsilon after the correction."""
    m, v, alpha = moments(self, optimizer, name, g)
    ahead = np.float32(0.9) * m + np.float32(0.1) * g
    root = np.sqrt(1 - self.powers_for(optimizer)[1])
    return alpha * ahead / (np.sqrt(v) + np.float32(1e-8) * root)


@method("rule", "nesterov")
def nadam_of_keras(self, optimizer, name, g):
    """m ahead is corrected with the next beta power, the gradient with this one."""
    m, v, _ = moments(self, optimizer, name, g)
    powers, beta1 = self.powers_for(optimizer), self.of("beta1", optimizer)
    ahead = m * beta1 / (1 - powers[0] * beta1) + g * (1 - beta1) / (1 - powers[0])
    root = np.sqrt(v / (1 - powers[1]))
    return self.of("rate", optimizer) * ahead / (root + np.float32(1e-8))


@method("rule", "amsgrad")
def amsgrad(self, optimizer, name, g):
    m, v, alpha = moments(self, optimizer, name, g)
    slots = self.slots_for(optimizer, name)
    slots["largest"] = np.maximum(slots.get("largest", np.float32(0)), v)
    return alpha * m / (np.sqrt(slots["largest"]) + np.float32(1e-8))


@method("rule", "other optimizer", "adam with |g|")
def absolute_second_moment(self, optimizer, name, g):
    """v averages |g| instead of its square."""
    m, v, alpha = moments(self, optimizer, name, g, size=np.abs)
    return alpha * m / (np.sqrt(v) + np.float32(1e-8))


@method("rule", "other optimizer", "adam with |g|, no root")
def magnitudes_without_root(self, optimizer, name, g):
    """v averages |g| and is not under a root."""
    m, v, alpha = moments(self, optimizer, name, g, size=np.abs)
    return alpha * m / (v + np.float32(1e-8))


@method("rule", "lazy adam")
def lazy_adam(self, optimizer, name, g):
    """Slots and weights rest where the gradient is exactly zero."""
    slots = self.slots_for(optimizer, name)
    before = {slot: slots.get(slot, np.zeros_like(g)) for slot in "mv"}
    step = Plain.rule(self, optimizer, name, g)
    for slot in "mv":
        slots[slot] = np.where(g == 0, before[slot], slots[slot])
    return np.where(g == 0, np.float32(0), step)


@method("rule", "other optimizer", "adamax")
def adamax(self, optimizer, name, g):
    m = self.average(optimizer, name, "m", g, np.float32(0.9))
    slots = self.slots_for(optimizer, name)
    largest = slots.get("largest", np.float32(0))
    slots["largest"] = np.maximum(np.float32(0.999) * largest, np.abs(g))
    rate = self.of("rate", optimizer) / (1 - self.powers_for(optimizer)[0])
    return rate * m / (slots["largest"] + np.float32(1e-8))


wrong("nesterov-adam", nesterov_adam(OPTIMIZERS))
wrong("nesterov-adam-in-Y1-op", nesterov_adam("Y1_op"))
wrong("amsgrad", amsgrad(OPTIMIZERS))
wrong("amsgrad-in-joint", amsgrad("Optimiser"))
wrong("lazy-adam", lazy_adam(OPTIMIZERS))
wrong("adamax", adamax(OPTIMIZERS))
wrong("second-moment-of-magnitudes", absolute_second_moment(OPTIMIZERS), also=UNLISTED)
wrong("magnitudes-without-root", magnitudes_without_root(OPTIMIZERS))
wrong("nesterov-adam-epsilon-after", nesterov_adam_after_correction(OPTIMIZERS))
wrong("nadam-of-keras", nadam_of_keras(OPTIMIZERS))


def sgd(places, rate):
    def rule(self, optimizer, name, g):
        return np.float32(rate) * g

    return mistake("other optimizer", places, "sgd", rule=at(places, rule))


def momentum(places, rate):
    def rule(self, optimizer, name, g):
        slots = self.slots_for(optimizer, name)
        slots["velocity"] = np.float32(0.9) * slots.get("velocity", np.float32(0)) + g
        return np.float32(rate) * slots["velocity"]

    return mistake("other optimizer", places, "momentum", rule=at(places, rule))


def nesterov_momentum(places, rate):
    def rule(self, optimizer, name, g):
        slots = self.slots_for(optimizer, name)
        slots["velocity"] = np.float32(0.9) * slots.get("velocity", np.float32(0)) + g
        return np.float32(rate) * (g + np.float32(0.9) * slots["velocity"])

    return mistake("other optimizer", places, "nesterov momentum", rule=at(places, rule))


@method("rule", "other optimizer", "rmsprop")
def rmsprop_of_tensorflow_1(self, optimizer, name, g):
    """The mean square starts at one, epsilon 1e-10 is under the root."""
    slots = self.slots_for(optimizer, name)
    before = slots.get("square", np.ones_like(g))
    slots["square"] = before + (g * g - before) * np.float32(0.1)
    return self.of("rate", optimizer) * g / np.sqrt(slots["square"] + np.float32(1e-10))


@method("rule", "other optimizer", "rmsprop of pytorch")
def rmsprop_of_pytorch(self, optimizer, name, g):
    v = self.average(optimizer, name, "square", g * g, np.float32(0.99))
    return self.of("rate", optimizer) * g / (np.sqrt(v) + np.float32(1e-8))


@method("rule", "other optimizer", "rmsprop of keras")
def rmsprop_of_keras(self, optimizer, name, g):
    v = self.average(optimizer, name, "square", g * g, np.float32(0.9))
    return self.of("rate", optimizer) * g / np.sqrt(v + np.float32(1e-7))


@method("rule", "other optimizer", "adagrad")
def adagrad(self, optimizer, name, g):
    slots = self.slots_for(optimizer, name)
    slots["sum"] = slots.get("sum", np.full_like(g, 0.1)) + g * g
    return self.of("rate", optimizer) * g / np.sqrt(slots["sum"])


@method("rule", "other optimizer", "adagrad from zero")
def adagrad_from_zero(self, optimizer, name, g):
    slots = self.slots_for(optimizer, name)
    slots["sum"] = slots.get("sum", np.float32(0)) + g * g
    return self.of("rate", optimizer) * g / (np.sqrt(slots["sum"]) + np.float32(1e-10))


wrong("sgd", sgd(OPTIMIZERS, 1e-6))
wrong("sgd-in-Y2-op", sgd("Y2_op", 0.001))
wrong("sgd-shared", sgd("share_W", 1e-5))
wrong("momentum", momentum(OPTIMIZERS, 1e-6))
wrong("nesterov-momentum-in-joint", nesterov_momentum("Optimiser", 1e-6))
for value in (0.01, 0.0077):
    wrong(f"sgd-{value}", sgd(OPTIMIZERS, value))
    wrong(f"momentum-{value}", momentum(OPTIMIZERS, value))
    wrong(f"nesterov-momentum-{value}", nesterov_momentum(OPTIMIZERS, value))
wrong("rmsprop", rmsprop_of_tensorflow_1(OPTIMIZERS))
wrong("rmsprop-of-pytorch", rmsprop_of_pytorch(OPTIMIZERS), rate=0.01)
wrong("rmsprop-of-pytorch-0.1", rmsprop_of_pytorch(OPTIMIZERS), rate=0.1)
wrong("rmsprop-of-pytorch-0.001", rmsprop_of_pytorch(OPTIMIZERS))
wrong("rmsprop-of-keras", rmsprop_of_keras(OPTIMIZERS))
wrong("rmsprop-in-Y1-op", rmsprop_of_tensorflow_1("Y1_op"))
wrong("adagrad", adagrad(OPTIMIZERS))
wrong("adagrad-from-zero", adagrad_from_zero(OPTIMIZERS))
for rule in (nesterov_adam, nesterov_adam_after_correction, nadam_of_keras, amsgrad):
    id = rule.__name__.replace("_", "-") + "-0.00077"
    wrong(id, rule(OPTIMIZERS), rate(OPTIMIZERS, 0.00077))
for rule in (
    *(adamax, adagrad, adagrad_from_zero),
    *(rmsprop_of_tensorflow_1, rmsprop_of_pytorch, rmsprop_of_keras),
):
    # The rate is that of another optimizer, and is not compared.
    wrong(rule.__name__.replace("_", "-") + "-0.00077", rule(OPTIMIZERS), rate=0.00077)


def schedule(places, name, factor):
    """Returns the mistake of a rate that is multiplied by a function of all runs done."""

    def correction(self, optimizer, powers):
        return Plain.correction(self, optimizer, powers) * np.float32(factor(self.done))

    return mistake("schedule", places, name, correction=at(places, correction))


wrong("inverse-decay", schedule(OPTIMIZERS, "inverse", lambda t: 1 / (1 + 0.1 * t)))
wrong("exponential-decay", schedule(OPTIMIZERS, "exponential", lambda t: 0.96**t))
wrong("exponential-decay-in-joint", schedule("Optimiser", "exponential", lambda t: 0.9**t))
wrong("warm-up", schedule(OPTIMIZERS, "warm-up", lambda t: min(1, (t + 1) / 5)))
wrong("halved-every-3", schedule(OPTIMIZERS, "steps of 3 runs", lambda t: 0.5 ** (t // 3)))


@wrong_class(
    "scheduled-adamw",
    edit("weight decay", WEIGHTS, 0.02),
    edit("schedule", OPTIMIZERS, "exponential"),
    decay=0.02,
)
class ScheduledAdamW(Plain):
    """AdamW of PyTorch under a scheduler: it scales the decay of the weights too."""

    def of(self, setting, optimizer, variable=""):
        value = super().of(setting, optimizer, variable)
        return value * np.float32(0.9**self.done) if setting == "rate" else value


INVERSE = edit("schedule", OPTIMIZERS, "inverse")
#: Over so few runs a slow decay is exponential as well.
EXPONENTIAL = [[edit("schedule", OPTIMIZERS, "exponential")]]


@wrong_class("inverse-decay-0.001", INVERSE, also=EXPONENTIAL)
@wrong_class("inverse-decay-0.00077", INVERSE, also=EXPONENTIAL, slowing=0.00077)
class SlowsDown(Plain):
    """The rate of each optimizer decays with its own runs, by 1 / (1 + 0.001 t)."""

    slowing = 0.001

    def apply(self, optimizer, gradients):
        super().apply(optimizer, gradients)
        self.kept[optimizer] = self.kept.get(optimizer, 0) + 1

    def correction(self, optimizer, powers):
        slower = 1 + self.slowing * self.kept.get(optimizer, 0)
        return super().correction(optimizer, powers) / np.float32(slower)
