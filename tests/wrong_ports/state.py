"""Ports whose optimizers share, lose or miscount their state, or keep variables differently."""

import numpy as np

from .base import OPTIMIZERS as OPTIMIZER_OF
from .base import Plain
from .entry import ALTERNATE, OPTIMIZERS, WEIGHTS, each, edit, mistake, wrong, wrong_class
from .feeds import rounded_to_bfloat16, rounded_to_float16
from .forward import cut_off

UNLISTED = [[edit("unlisted", OPTIMIZERS)]]


# State that optimizers share


def one_optimizer(places, owner):
    """Returns the mistake of optimizers that are one. Their beta powers need not be named."""
    both = [edit("slots shared", places), edit("powers shared", places)]
    shared = {"slots_of": each(places, owner), "powers_of": each(places, owner)}
    return mistake("slots shared", places, also=[both], **shared)


ONE_OPTIMIZER = one_optimizer(OPTIMIZERS, "Optimiser")

wrong("one-optimizer", ONE_OPTIMIZER)
wrong("alternate-share-slots", one_optimizer(ALTERNATE, "Y1_op"))
wrong("joint-shares-with-Y1", one_optimizer(("Optimiser", "Y1_op"), "Optimiser"))
MOMENTS_SHARED = mistake("slots shared", OPTIMIZERS, slots_of=each(OPTIMIZERS, "Optimiser"))
POWERS_SHARED = mistake("powers shared", OPTIMIZERS, powers_of=each(OPTIMIZERS, "Optimiser"))

wrong("moments-shared", MOMENTS_SHARED)
wrong("powers-shared", POWERS_SHARED)
wrong("alternate-share-powers", mistake("powers shared", ALTERNATE, powers_of={"Y2_op": "Y1_op"}))


@wrong_class(
    "one-optimizer-with-zeros",
    ONE_OPTIMIZER,
    edit("trains more", OPTIMIZERS),
    also=[[edit("slots shared", OPTIMIZERS)]],
)
class OneOptimizerMovesAll(Plain):
    """One Adam of all weights, given zeros for the head that a run does not train."""

    def changed(self, optimizer, gradients):
        zeros = {name: np.zeros_like(w) for name, w in self.weights().items()}
        return {**zeros, **gradients}


@wrong_class(
    "one-optimizer-by-variable",
    edit("slots shared", OPTIMIZERS),
    also=[
        [edit("slots shared", OPTIMIZERS), edit("powers shared", OPTIMIZERS)],
        [edit("slots shared", OPTIMIZERS), edit("step counter", OPTIMIZERS)],
    ],
)
class SharedByVariable(Plain):
    """One Adam of all weights that counts the steps of each variable (PyTorch)."""

    def slots_for(self, optimizer, name):
        return super().slots_for("Optimiser", name)

    def apply(self, optimizer, gradients):
        for name, g in gradients.items():
            super().apply(name, {name: g})


# State that is lost


@wrong_class("reset-each-step", edit("state reset", OPTIMIZERS, "each step"))
@wrong_class("reset-every-4", edit("state reset", OPTIMIZERS, "every 4"), every=4)
class Reset(Plain):
    """New optimizers are built in every step, or after some, as in each epoch."""

    every = 1

    def step(self, *given):
        if self.done % self.every == 0:
            self.forget()
        return super().step(*given)


@wrong_class("reset-on-task-change", edit("state reset", OPTIMIZERS, "on task change"))
class ResetOnTaskChange(Plain):
    """Optimizers are built anew when another task is trained than in the run before."""

    before = None

    def step(self, task, *given):
        if task != self.before:
            self.forget()
        self.before = task
        return super().step(task, *given)


@wrong_class("reset-Y2-each-step", edit("state reset", "Y2_op", "each step"))
class ResetY2EachStep(Plain):
    """Only the optimizer of Y2 is built in every step."""

    def step(self, task, *given):
        if task == "Y2":
            self.slots = {key: value for key, value in self.slots.items() if key[0] != "Y2_op"}
            self.powers.pop("Y2_op", None)
        return super().step(task, *given)


@wrong_class(
    "slots-reset-powers-kept",
    edit("state reset", OPTIMIZERS, "slots each step"),
    also=[[edit("state reset", OPTIMIZERS)], [edit("beta1", OPTIMIZERS, 0.0)]],
)
class SlotsResetPowersKept(Plain):
    """m and v are zeroed in every step, the step counter goes on."""

    def step(self, *given):
        self.slots = {}
        return super().step(*given)


# Step counters


@wrong_class(
    "global-counter",
    edit("powers shared", OPTIMIZERS),
    also=[[edit("step counter", OPTIMIZERS)]],
)
class GlobalCounter(Plain):
    """t counts the runs of all tasks, in a variable shared by the three optimizers."""

    def powers_for(self, optimizer):
        kept = super().powers_for(optimizer)
        for beta, index in ((self.beta1, 0), (self.beta2, 1)):
            kept[index] = np.float32(beta) ** np.float32(self.done + 1)
        return kept


@wrong_class("counter-stands-still", edit("step counter", OPTIMIZERS, "stays at 1"))
@wrong_class(
    "counter-half-speed",
    edit("step counter", OPTIMIZERS, "every second run"),
    also=UNLISTED,
    every=2,
)
class CounterTooSlow(Plain):
    """t stays at 1, or advances on every second run of an optimizer only."""

    every = np.inf

    def apply(self, optimizer, gradients):
        self.kept[optimizer] = self.kept.get(optimizer, 0) + 1
        powers = self.powers_for(optimizer).copy()
        super().apply(optimizer, gradients)
        if self.kept[optimizer] % self.every:
            self.powers_for(optimizer)[:] = powers


@wrong_class("counter-per-variable", edit("step counter", OPTIMIZERS, "once a variable"))
class CounterPerVariable(Plain):
    """t advances once a variable, not once a run: three times in a joint run."""

    def rule(self, optimizer, name, g):
        step = super().rule(optimizer, name, g)
        powers = self.powers_for(optimizer)
        powers[:] = powers * [self.of("beta1", optimizer), self.of("beta2", optimizer)]
        return step

    def apply(self, optimizer, gradients):
        super().apply(optimizer, gradients)
        powers = self.powers_for(optimizer)
        powers[:] = powers / [self.of("beta1", optimizer), self.of("beta2", optimizer)]


# How variables are kept


@wrong_class("weights-float16", edit("precision of variables", WEIGHTS, "float16"))
@wrong_class(
    "head-2-float16", edit("precision of variables", "share_Y2", "float16"), names=["share_Y2"]
)
class Float16(Plain):
    """Weights are kept in half precision between steps."""

    rounded, names = staticmethod(rounded_to_float16), WEIGHTS

    def __init__(self, *weights):
        super().__init__(*weights)
        self.round()

    def round(self):
        self.w.update({name: self.rounded(self.w[name]) for name in self.names})

    def apply(self, optimizer, gradients):
        super().apply(optimizer, gradients)
        self.round()


@wrong_class(
    "weights-float16-returned",
    edit("precision of variables", WEIGHTS, "float16"),
    edit("wrong dtype", WEIGHTS, "float16"),
)
class Float16Returned(Float16):
    """... and returned as they are kept."""

    def weights(self):
        return {name: w.astype(np.float16) for name, w in super().weights().items()}


@wrong_class("weights-bfloat16", edit("precision of variables", WEIGHTS, "bfloat16"))
class Bfloat16(Float16):
    """Weights are kept in bfloat16 between steps."""

    rounded = staticmethod(rounded_to_bfloat16)


@wrong_class(
    "weights-bfloat16-cut-off", edit("precision of variables", WEIGHTS, "bfloat16, cut off")
)
class Bfloat16CutOff(Float16):
    """The last bits of the weights are cut off between steps."""

    rounded = staticmethod(cut_off(16))


@wrong_class("m-bfloat16", edit("unlisted", OPTIMIZERS))
class SlotsInBfloat16(Plain):
    """m is kept in bfloat16."""

    def average(self, optimizer, name, slot, new, beta):
        moved = super().average(optimizer, name, slot, new, beta)
        if slot == "m":
            moved = self.slots_for(optimizer, name)[slot] = rounded_to_bfloat16(moved)
        return moved


@wrong_class("float64", edit("wrong dtype", WEIGHTS, "float64"))
class Float64(Plain):
    """Weights are created and returned in float64."""

    def __init__(self, *weights):
        super().__init__(*(np.array(w, np.float64) for w in weights))


@wrong_class("float64-head-1", edit("wrong dtype", "share_Y1", "float64"))
class Float64Head1(Plain):
    """Only share_Y1 is returned in float64."""

    def weights(self):
        return {**super().weights(), "share_Y1": self.w["share_Y1"].astype(np.float64)}


@wrong_class("updated-late", edit("variable updated late", WEIGHTS))
@wrong_class("shared-updated-late", edit("variable updated late", "share_W"), late=["share_W"])
class UpdatedLate(Plain):
    """The updates of some variables take effect one run later."""

    late = WEIGHTS

    def apply(self, optimizer, gradients):
        before = dict(self.w)
        super().apply(optimizer, gradients)
        for name in self.late:
            step = self.w[name] - before[name]
            self.w[name] = before[name] + self.kept.get(name, np.float32(0))
            self.kept[name] = step


@wrong_class(
    "own-trunks", edit("variable not shared", "share_W"), also=[[edit("unlisted", "share_W")]]
)
class OwnTrunks(Plain):
    """Each of the three runs has a shared layer of its own. That of the joint run is returned."""

    def __init__(self, *weights):
        super().__init__(*weights)
        self.trunks = dict.fromkeys(OPTIMIZER_OF, self.w["share_W"])

    def step(self, task, *given):
        self.w["share_W"] = self.trunks[task]
        loss = super().step(task, *given)
        self.trunks[task] = self.w["share_W"]
        self.w["share_W"] = self.trunks["joint"]
        return loss


@wrong_class("heads-start-alike", edit("initial weights", "share_Y2"))
class HeadsTied(Plain):
    """An initializer is used twice: if the sizes allow it, head 2 starts as a copy of head 1."""

    def __init__(self, share_W, share_Y1, share_Y2):
        share_Y2 = share_Y1.copy() if share_Y1.shape == share_Y2.shape else share_Y2
        super().__init__(share_W, share_Y1, share_Y2)


@wrong_class("own-initial-weights", edit("initial weights", "share_W"))
class OwnInitialWeights(Plain):
    """The port draws its own initial share_W."""

    def __init__(self, share_W, *heads):
        drawn = np.random.RandomState(0).normal(0, 0.1, share_W.shape).astype(np.float32)
        super().__init__(drawn, *heads)
