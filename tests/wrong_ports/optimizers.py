"""Ports with another Adam, another optimizer or another schedule."""

import numpy as np

from .base import Plain
from .entry import OPTIMIZERS, WEIGHTS, edit, wrong


def after_correction(self, optimizer, v, epsilon, powers):
    """PyTorch and optax: epsilon is added to the corrected root."""
    return np.sqrt(v) + epsilon * np.sqrt(1 - powers[1])


def inside_root(self, optimizer, v, epsilon, powers):
    return np.sqrt(v + epsilon)


def inside_corrected_root(self, optimizer, v, epsilon, powers):
    return np.sqrt(v + epsilon * (1 - powers[1]))


def only_in(places, hook, name):
    """Return a hook that acts in these optimizers. In the others the right line runs."""

    def chosen(self, optimizer, *given):
        if optimizer in places:
            return hook(self, optimizer, *given)
        return getattr(Plain, name)(self, optimizer, *given)

    return chosen


def no_correction(self, optimizer, powers):
    return np.float32(1)


def first_moment_only(self, optimizer, powers):
    return 1 / (1 - powers[0])


def second_moment_only(self, optimizer, powers):
    return np.sqrt(1 - powers[1])


def root_forgotten(self, optimizer, powers):
    """The correction of v is not under the root."""
    return (1 - powers[1]) / (1 - powers[0])


def ahead_by_one(self, optimizer, powers):
    """t is counted before it is used: the first step has t = 2."""
    beta1, beta2 = self.of("beta1", optimizer), self.of("beta2", optimizer)
    return np.sqrt(1 - powers[1] * beta2) / (1 - powers[0] * beta1)


# Other rules: each returns what is subtracted


def sgd(rate):
    return lambda self, optimizer, name, g: np.float32(rate) * g


def momentum(rate, nesterov=False):
    def rule(self, optimizer, name, g):
        slots = self.slots_for(optimizer, name)
        slots["velocity"] = np.float32(0.9) * slots.get("velocity", np.float32(0)) + g
        ahead = g + np.float32(0.9) * slots["velocity"] if nesterov else slots["velocity"]
        return np.float32(rate) * ahead

    return rule


def rmsprop_of_tensorflow_1(self, optimizer, name, g):
    """The mean square starts at one, epsilon 1e-10 is under the root."""
    slots = self.slots_for(optimizer, name)
    before = slots.get("square", np.ones_like(g))
    slots["square"] = before + (g * g - before) * np.float32(0.1)
    return self.of("rate", optimizer) * g / np.sqrt(slots["square"] + np.float32(1e-10))


def rmsprop_of_pytorch(self, optimizer, name, g):
    v = self.average(optimizer, name, "square", g * g, np.float32(0.99))
    return np.float32(0.01) * g / (np.sqrt(v) + np.float32(1e-8))


def adagrad(self, optimizer, name, g):
    slots = self.slots_for(optimizer, name)
    slots["sum"] = slots.get("sum", np.full_like(g, 0.1)) + g * g
    return self.of("rate", optimizer) * g / np.sqrt(slots["sum"])


def amsgrad(self, optimizer, name, g):
    m = self.average(optimizer, name, "m", g, np.float32(0.9))
    v = self.average(optimizer, name, "v", g * g, np.float32(0.999))
    slots = self.slots_for(optimizer, name)
    slots["largest"] = np.maximum(slots.get("largest", np.float32(0)), v)
    powers = self.powers_for(optimizer)
    alpha = self.of("rate", optimizer) * self.correction(optimizer, powers)
    return alpha * m / (np.sqrt(slots["largest"]) + np.float32(1e-8))


def adamax(self, optimizer, name, g):
    m = self.average(optimizer, name, "m", g, np.float32(0.9))
    slots = self.slots_for(optimizer, name)
    largest = slots.get("largest", np.float32(0))
    slots["largest"] = np.maximum(np.float32(0.999) * largest, np.abs(g))
    rate = self.of("rate", optimizer) / (1 - self.powers_for(optimizer)[0])
    return rate * m / (slots["largest"] + np.float32(1e-8))


def nesterov_adam(self, optimizer, name, g):
    """The step ahead of Dozat, as in `tf.contrib.opt.NadamOptimizer`."""
    m = self.average(optimizer, name, "m", g, np.float32(0.9))
    v = self.average(optimizer, name, "v", g * g, np.float32(0.999))
    ahead = np.float32(0.9) * m + np.float32(0.1) * g
    powers = self.powers_for(optimizer)
    alpha = self.of("rate", optimizer) * self.correction(optimizer, powers)
    return alpha * ahead / (np.sqrt(v) + np.float32(1e-8))


def lazy_adam(self, optimizer, name, g):
    """Slots and weights rest where the gradient is exactly zero."""
    slots = self.slots_for(optimizer, name)
    before = {slot: slots.get(slot, np.zeros_like(g)) for slot in "mv"}
    step = Plain.rule(self, optimizer, name, g)
    for slot in "mv":
        slots[slot] = np.where(g == 0, before[slot], slots[slot])
    return np.where(g == 0, np.float32(0), step)


def absolute_second_moment(self, optimizer, name, g):
    """v averages |g| instead of its square."""
    m = self.average(optimizer, name, "m", g, np.float32(0.9))
    v = self.average(optimizer, name, "v", np.abs(g), np.float32(0.999))
    powers = self.powers_for(optimizer)
    alpha = self.of("rate", optimizer) * self.correction(optimizer, powers)
    return alpha * m / (np.sqrt(v) + np.float32(1e-8))


# Schedules of the learning rate. `done` counts all runs of a port


def schedule(factor, places=OPTIMIZERS):
    """Return a `correction` whose rate is multiplied by a function of the runs done."""

    def correction(self, optimizer, powers):
        right = Plain.correction(self, optimizer, powers)
        return right * np.float32(factor(self.done)) if optimizer in places else right

    return correction


ENTRIES = (
    wrong(
        "epsilon-1e-7",
        "every epsilon is 1e-7 (Keras)",
        edit("epsilon", OPTIMIZERS, 1e-7),
        also=[[edit("gradient scaled", WEIGHTS, 0.1)]],
        epsilon=1e-7,
    ),
    wrong(
        "epsilon-1e-7-in-Y2-op",
        "epsilon of Y2_op is 1e-7",
        edit("epsilon", "Y2_op", 1e-7),
        also=[[edit("gradient scaled", "Y2_op", 0.1)]],
        epsilon={"Y2_op": 1e-7},
    ),
    wrong(
        "epsilon-1e-7-in-joint",
        "epsilon of Optimiser is 1e-7",
        edit("epsilon", "Optimiser", 1e-7),
        also=[[edit("gradient scaled", "Optimiser", 0.1)]],
        epsilon={"Optimiser": 1e-7},
    ),
    wrong(
        "epsilon-1e-3-in-Y1-op",
        "epsilon of Y1_op is 1e-3",
        edit("epsilon", "Y1_op", 1e-3),
        also=[[edit("gradient scaled", "Y1_op", 1e-5)]],
        epsilon={"Y1_op": 1e-3},
    ),
    wrong(
        "epsilon-5e-6",
        "every epsilon is 5e-6",
        edit("epsilon", OPTIMIZERS, 5e-6),
        also=[[edit("gradient scaled", WEIGHTS, 0.002)]],
        epsilon=5e-6,
    ),
    wrong(
        "epsilon-0.1",
        "every epsilon is 0.1",
        edit("epsilon", OPTIMIZERS, 0.1),
        also=[[edit("gradient scaled", WEIGHTS, 1e-7)]],
        epsilon=0.1,
    ),
    wrong(
        "epsilon-none",
        "there is no epsilon",
        edit("epsilon", OPTIMIZERS),
        epsilon=0.0,
        denominator=lambda self, optimizer, v, epsilon, powers: np.where(
            v == 0, np.float32(1), np.sqrt(v)
        ),
    ),
    wrong(
        "epsilon-after-correction",
        "epsilon is added after the bias correction",
        edit("epsilon place", OPTIMIZERS, "after the correction"),
        denominator=after_correction,
    ),
    wrong(
        "epsilon-after-correction-in-Y1-op",
        "Y1_op adds epsilon after the bias correction",
        edit("epsilon place", "Y1_op", "after the correction"),
        denominator=only_in(["Y1_op"], after_correction, "denominator"),
    ),
    wrong(
        "epsilon-inside-root",
        "epsilon is added under the root",
        edit("epsilon place", OPTIMIZERS, "inside the root"),
        denominator=inside_root,
    ),
    wrong(
        "epsilon-inside-root-in-joint",
        "Optimiser adds epsilon under the root",
        edit("epsilon place", "Optimiser", "inside the root"),
        denominator=only_in(["Optimiser"], inside_root, "denominator"),
    ),
    wrong(
        "epsilon-inside-corrected-root",
        "epsilon is added under the root, after the correction",
        edit("epsilon place", OPTIMIZERS, "inside the corrected root"),
        denominator=inside_corrected_root,
    ),
    wrong(
        "beta1-0.8",
        "beta1 is 0.8",
        edit("beta1", OPTIMIZERS, 0.8),
        beta1=0.8,
    ),
    wrong(
        "beta1-0.5-in-Y2-op",
        "beta1 of Y2_op is 0.5",
        edit("beta1", "Y2_op", 0.5),
        beta1={"Y2_op": 0.5},
    ),
    wrong("beta2-0.99", "beta2 is 0.99", edit("beta2", OPTIMIZERS, 0.99), beta2=0.99),
    wrong(
        "beta2-0.98-in-Y1-op",
        "beta2 of Y1_op is 0.98",
        edit("beta2", "Y1_op", 0.98),
        beta2={"Y1_op": 0.98},
    ),
    wrong(
        "betas-swapped",
        "beta1 and beta2 are swapped",
        edit("beta1", OPTIMIZERS, 0.999),
        edit("beta2", OPTIMIZERS, 0.9),
        beta1=0.999,
        beta2=0.9,
    ),
    wrong(
        "betas-0.5-0.9",
        "beta1 is 0.5 and beta2 0.9 (copied from a GAN)",
        edit("beta1", OPTIMIZERS, 0.5),
        edit("beta2", OPTIMIZERS, 0.9),
        beta1=0.5,
        beta2=0.9,
    ),
    wrong("rate-0.01", "the rate is 0.01", edit("learning rate", OPTIMIZERS, 0.01), rate=0.01),
    wrong(
        "rate-3e-4-in-joint",
        "the rate of Optimiser is 3e-4",
        edit("learning rate", "Optimiser", 3e-4),
        rate={"Optimiser": 3e-4},
    ),
    wrong(
        "rate-doubled-heads",
        "the heads have twice the rate (a parameter group)",
        edit("learning rate", ("share_Y1", "share_Y2"), 0.002),
        rate={"share_Y1": 0.002, "share_Y2": 0.002},
    ),
    wrong(
        "rate-tenth-shared",
        "share_W has a tenth of the rate (a parameter group)",
        edit("learning rate", "share_W", 1e-4),
        rate={"share_W": 1e-4},
    ),
    wrong(
        "rate-0.00077",
        "the rate is 0.00077",
        edit("learning rate", OPTIMIZERS, 0.00077),
        rate=0.00077,
    ),
    wrong(
        "no-correction",
        "there is no bias correction",
        edit("bias correction", OPTIMIZERS, "none"),
        correction=no_correction,
    ),
    wrong(
        "no-correction-in-Y2-op",
        "Y2_op has no bias correction",
        edit("bias correction", "Y2_op", "none"),
        correction=only_in(["Y2_op"], no_correction, "correction"),
    ),
    wrong(
        "correction-of-m-only",
        "only the first moment is corrected",
        edit("bias correction", OPTIMIZERS, "first moment only"),
        correction=first_moment_only,
    ),
    wrong(
        "correction-of-v-only",
        "only the second moment is corrected",
        edit("bias correction", OPTIMIZERS, "second moment only"),
        correction=second_moment_only,
    ),
    wrong(
        "correction-without-root",
        "1 - beta2^t is not under the root",
        edit("bias correction", OPTIMIZERS, "without the root"),
        also=[[edit("unlisted", OPTIMIZERS)]],
        correction=root_forgotten,
    ),
    wrong(
        "counter-starts-at-2",
        "the first step has t = 2",
        edit("step counter", OPTIMIZERS, "starts at 2"),
        correction=ahead_by_one,
    ),
    wrong(
        "counter-starts-at-2-in-joint",
        "the first step of Optimiser has t = 2",
        edit("step counter", "Optimiser", "starts at 2"),
        correction=only_in(["Optimiser"], ahead_by_one, "correction"),
    ),
    wrong(
        "adamw",
        "weights decay by 0.01 of the rate (AdamW)",
        edit("weight decay", WEIGHTS, 0.01),
        decay=0.01,
    ),
    wrong(
        "adamw-0.2-heads",
        "the heads decay by 0.2 of the rate",
        edit("weight decay", ("share_Y1", "share_Y2"), 0.2),
        decay={"share_Y1": 0.2, "share_Y2": 0.2},
    ),
    wrong(
        "adamw-shared",
        "share_W decays by 0.05 of the rate",
        edit("weight decay", "share_W", 0.05),
        decay={"share_W": 0.05},
    ),
    wrong(
        "adamw-in-Y2-op",
        "Y2_op decays its weights by 0.1 of the rate",
        edit("weight decay", "Y2_op", 0.1),
        decay={"Y2_op": 0.1},
    ),
    wrong(
        "nesterov-adam",
        "the optimizers are Nadam",
        edit("nesterov", OPTIMIZERS),
        rule=nesterov_adam,
    ),
    wrong(
        "nesterov-adam-in-Y1-op",
        "Y1_op is Nadam",
        edit("nesterov", "Y1_op"),
        rule=only_in(["Y1_op"], nesterov_adam, "rule"),
    ),
    wrong("amsgrad", "the optimizers are AMSGrad", edit("amsgrad", OPTIMIZERS), rule=amsgrad),
    wrong(
        "amsgrad-in-joint",
        "Optimiser is AMSGrad",
        edit("amsgrad", "Optimiser"),
        rule=only_in(["Optimiser"], amsgrad, "rule"),
    ),
    wrong(
        "lazy-adam",
        "slots and weights rest where the gradient is 0",
        edit("lazy adam", OPTIMIZERS),
        rule=lazy_adam,
    ),
    wrong(
        "adamax",
        "the optimizers are Adamax",
        edit("other optimizer", OPTIMIZERS, "adamax"),
        rule=adamax,
    ),
    wrong(
        "second-moment-of-magnitudes",
        "v averages |g| instead of its square",
        edit("other optimizer", OPTIMIZERS, "adam with |g|"),
        also=[[edit("unlisted", OPTIMIZERS)]],
        rule=absolute_second_moment,
    ),
    wrong(
        "sgd",
        "the optimizers are gradient descent with rate 1e-6",
        edit("other optimizer", OPTIMIZERS, "sgd"),
        rule=sgd(1e-6),
    ),
    wrong(
        "sgd-in-Y2-op",
        "Y2_op is gradient descent with rate 0.001",
        edit("other optimizer", "Y2_op", "sgd"),
        rule=only_in(["Y2_op"], sgd(0.001), "rule"),
    ),
    wrong(
        "sgd-shared",
        "share_W is trained by gradient descent with rate 1e-5",
        edit("other optimizer", "share_W", "sgd"),
        rule=lambda self, optimizer, name, g: (
            sgd(1e-5) if name == "share_W" else lambda *given: Plain.rule(*given)
        )(self, optimizer, name, g),
    ),
    wrong(
        "momentum",
        "the optimizers are Momentum with rate 1e-6",
        edit("other optimizer", OPTIMIZERS, "momentum"),
        rule=momentum(1e-6),
    ),
    wrong(
        "nesterov-momentum-in-joint",
        "Optimiser is Nesterov momentum with rate 1e-6",
        edit("other optimizer", "Optimiser", "nesterov momentum"),
        rule=only_in(["Optimiser"], momentum(1e-6, nesterov=True), "rule"),
    ),
    wrong(
        "rmsprop",
        "the optimizers are RMSProp of TensorFlow 1",
        edit("other optimizer", OPTIMIZERS, "rmsprop"),
        rule=rmsprop_of_tensorflow_1,
    ),
    wrong(
        "rmsprop-of-pytorch",
        "the optimizers are RMSProp with PyTorch's defaults",
        edit("other optimizer", OPTIMIZERS, "rmsprop of pytorch"),
        rule=rmsprop_of_pytorch,
    ),
    wrong(
        "rmsprop-in-Y1-op",
        "Y1_op is RMSProp of TensorFlow 1",
        edit("other optimizer", "Y1_op", "rmsprop"),
        rule=only_in(["Y1_op"], rmsprop_of_tensorflow_1, "rule"),
    ),
    wrong(
        "adagrad",
        "the optimizers are Adagrad",
        edit("other optimizer", OPTIMIZERS, "adagrad"),
        rule=adagrad,
    ),
    wrong(
        "inverse-decay",
        "the rate decays by 1 / (1 + 0.1 t)",
        edit("schedule", OPTIMIZERS, "inverse"),
        correction=schedule(lambda t: 1 / (1 + 0.1 * t)),
    ),
    wrong(
        "exponential-decay",
        "the rate decays by 0.96 a run",
        edit("schedule", OPTIMIZERS, "exponential"),
        correction=schedule(lambda t: 0.96**t),
    ),
    wrong(
        "exponential-decay-in-joint",
        "the rate of Optimiser decays by 0.9 a run",
        edit("schedule", "Optimiser", "exponential"),
        correction=schedule(lambda t: 0.9**t, ["Optimiser"]),
    ),
    wrong(
        "warm-up",
        "the rate grows linearly over the first 5 runs",
        edit("schedule", OPTIMIZERS, "warm-up"),
        correction=schedule(lambda t: min(1, (t + 1) / 5)),
    ),
    wrong(
        "halved-every-3",
        "the rate is halved every 3 runs",
        edit("schedule", OPTIMIZERS, "steps"),
        correction=schedule(lambda t: 0.5 ** (t // 3)),
    ),
)
