"""Ports whose optimizers share, lose or miscount their state, or keep variables differently."""

import numpy as np

from .base import OPTIMIZERS as OPTIMIZER_OF
from .base import WEIGHTS as ALL_WEIGHTS
from .base import Plain
from .entry import OPTIMIZERS, WEIGHTS, edit, wrong
from .feeds import rounded_to_bfloat16, rounded_to_float16

ONE_OPTIMIZER = dict.fromkeys(OPTIMIZERS, "Optimiser")


class ResetEachStep(Plain):
    """A new optimizer is built in every step."""

    def step(self, *given):
        self.forget()
        return super().step(*given)


class ResetEvery4(Plain):
    """Optimizers are built anew every 4 runs (an epoch)."""

    def step(self, *given):
        if self.done % 4 == 0:
            self.forget()
        return super().step(*given)


class ResetOnTaskChange(Plain):
    """Optimizers are built anew when another task is trained than in the run before."""

    before = None

    def step(self, task, *given):
        if task != self.before:
            self.forget()
        self.before = task
        return super().step(task, *given)


class ResetY2EachStep(Plain):
    """Only the optimizer of Y2 is built in every step."""

    def step(self, task, *given):
        if task == "Y2":
            self.slots = {key: value for key, value in self.slots.items() if key[0] != "Y2_op"}
            self.powers.pop("Y2_op", None)
        return super().step(task, *given)


class SlotsResetPowersKept(Plain):
    """m and v are zeroed in every step, the step counter goes on."""

    def step(self, *given):
        self.slots = {}
        return super().step(*given)


class GlobalCounter(Plain):
    """t counts the runs of all tasks, in a variable shared by the three optimizers."""

    def powers_for(self, optimizer):
        kept = super().powers_for(optimizer)
        for beta, index in ((self.beta1, 0), (self.beta2, 1)):
            kept[index] = np.float32(beta) ** np.float32(self.done + 1)
        return kept


class CounterPerBatchOfTwo(Plain):
    """t advances on every second run of an optimizer only."""

    def apply(self, optimizer, gradients):
        runs = self.__dict__.setdefault("runs", {})
        runs[optimizer] = runs.get(optimizer, 0) + 1
        powers = self.powers_for(optimizer).copy()
        super().apply(optimizer, gradients)
        if runs[optimizer] % 2:
            self.powers_for(optimizer)[:] = powers


class CounterStandsStill(Plain):
    """t stays at 1."""

    def apply(self, optimizer, gradients):
        powers = self.powers_for(optimizer).copy()
        super().apply(optimizer, gradients)
        self.powers_for(optimizer)[:] = powers


class CounterPerVariable(Plain):
    """t advances once a variable, not once a run: three times in a joint run."""

    def rule(self, optimizer, name, g):
        step = super().rule(optimizer, name, g)
        powers = self.powers_for(optimizer)
        powers[:] = powers * [self.of("beta1", optimizer), self.of("beta2", optimizer)]
        return step

    def apply(self, optimizer, gradients):
        beta1, beta2 = self.of("beta1", optimizer), self.of("beta2", optimizer)
        super().apply(optimizer, gradients)
        powers = self.powers_for(optimizer)
        powers[:] = powers / [beta1, beta2]


class OneOptimizerMovesAll(Plain):
    """One Adam of all weights, given zeros for the head that a run does not train."""

    slots_of = powers_of = ONE_OPTIMIZER

    def changed(self, optimizer, gradients):
        zeros = {name: np.zeros_like(self.w[name]) for name in ALL_WEIGHTS}
        return {**zeros, **gradients}


class SharedByVariable(Plain):
    """One Adam of all weights that counts the steps of each variable (PyTorch)."""

    def slots_for(self, optimizer, name):
        return super().slots_for("Optimiser", name)

    def apply(self, optimizer, gradients):
        for name, g in gradients.items():
            super().apply(name, {name: g})

    def of(self, setting, optimizer, variable=""):
        return np.float32(getattr(self, setting))


class Rounded(Plain):
    """Weights are kept in another precision between steps."""

    rounding = staticmethod(rounded_to_float16)
    rounded = WEIGHTS

    def __init__(self, *weights):
        super().__init__(*weights)
        self.round()

    def round(self):
        self.w.update({name: self.rounding(self.w[name]) for name in self.rounded})

    def apply(self, optimizer, gradients):
        super().apply(optimizer, gradients)
        self.round()


class RoundedBfloat16(Rounded):
    rounding = staticmethod(rounded_to_bfloat16)


class RoundedHead2(Rounded):
    rounded = ("share_Y2",)


class SlotsInFloat16(Plain):
    """m is kept in half precision."""

    def average(self, optimizer, name, slot, new, beta):
        moved = super().average(optimizer, name, slot, new, beta)
        if slot == "m":
            moved = self.slots_for(optimizer, name)[slot] = rounded_to_bfloat16(moved)
        return moved


class Float64(Plain):
    """Weights are created and returned in float64."""

    def __init__(self, *weights):
        super().__init__(*(np.array(w, np.float64) for w in weights))


class Float64Head1(Plain):
    """Only share_Y1 is returned in float64."""

    def weights(self):
        return {**super().weights(), "share_Y1": self.w["share_Y1"].astype(np.float64)}


class UpdatedLate(Plain):
    """The updates of some variables take effect one run later."""

    late = WEIGHTS

    def apply(self, optimizer, gradients):
        waiting = self.__dict__.setdefault("waiting", {})
        before = dict(self.w)
        super().apply(optimizer, gradients)
        for name in self.late:
            step = self.w[name] - before[name]
            self.w[name] = before[name] + waiting.get(name, np.float32(0))
            waiting[name] = step


class SharedUpdatedLate(UpdatedLate):
    late = ("share_W",)


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


class HeadsTied(Plain):
    """An initializer is used twice: if the sizes allow it, head 2 starts as a copy of head 1."""

    def __init__(self, share_W, share_Y1, share_Y2):
        share_Y2 = share_Y1.copy() if share_Y1.shape == share_Y2.shape else share_Y2
        super().__init__(share_W, share_Y1, share_Y2)


class OwnInitialWeights(Plain):
    """The port draws its own initial share_W."""

    def __init__(self, share_W, *heads):
        drawn = np.random.RandomState(0).normal(0, 0.1, share_W.shape).astype(np.float32)
        super().__init__(drawn, *heads)


ENTRIES = (
    wrong(
        "one-optimizer",
        "the three runs share slots and beta powers",
        edit("slots shared", OPTIMIZERS),
        also=[[edit("slots shared", OPTIMIZERS), edit("powers shared", OPTIMIZERS)]],
        slots_of=ONE_OPTIMIZER,
        powers_of=ONE_OPTIMIZER,
    ),
    wrong(
        "moments-shared",
        "the three runs share m and v, their beta powers are their own",
        edit("slots shared", OPTIMIZERS),
        slots_of=ONE_OPTIMIZER,
    ),
    wrong(
        "powers-shared",
        "the three runs share their beta powers, m and v are their own",
        edit("powers shared", OPTIMIZERS),
        powers_of=ONE_OPTIMIZER,
    ),
    wrong(
        "alternate-share-slots",
        "Y1_op and Y2_op share slots and beta powers",
        edit("slots shared", ("Y1_op", "Y2_op")),
        also=[
            [edit("slots shared", ("Y1_op", "Y2_op")), edit("powers shared", ("Y1_op", "Y2_op"))]
        ],
        slots_of={"Y2_op": "Y1_op"},
        powers_of={"Y2_op": "Y1_op"},
    ),
    wrong(
        "alternate-share-powers",
        "Y1_op and Y2_op share their beta powers",
        edit("powers shared", ("Y1_op", "Y2_op")),
        powers_of={"Y2_op": "Y1_op"},
    ),
    wrong(
        "joint-shares-with-Y1",
        "Optimiser and Y1_op are one optimizer",
        edit("slots shared", ("Optimiser", "Y1_op")),
        also=[
            [
                edit("slots shared", ("Optimiser", "Y1_op")),
                edit("powers shared", ("Optimiser", "Y1_op")),
            ]
        ],
        slots_of={"Y1_op": "Optimiser"},
        powers_of={"Y1_op": "Optimiser"},
    ),
    wrong(
        "one-optimizer-with-zeros",
        "one optimizer, whose momentum also moves the resting head",
        edit("slots shared", OPTIMIZERS),
        edit("trains more", OPTIMIZERS),
        also=[
            [edit("slots shared", OPTIMIZERS)],
            [
                edit("slots shared", OPTIMIZERS),
                edit("powers shared", OPTIMIZERS),
                edit("trains more", OPTIMIZERS),
            ],
        ],
        base=OneOptimizerMovesAll,
    ),
    wrong(
        "one-optimizer-by-variable",
        "one optimizer that counts the steps of each variable",
        edit("slots shared", OPTIMIZERS),
        also=[
            [edit("slots shared", OPTIMIZERS), edit("powers shared", OPTIMIZERS)],
            [edit("slots shared", OPTIMIZERS), edit("step counter", OPTIMIZERS)],
        ],
        base=SharedByVariable,
    ),
    wrong(
        "reset-each-step",
        "the optimizers start afresh in each run",
        edit("state reset", OPTIMIZERS, "each step"),
        base=ResetEachStep,
    ),
    wrong(
        "reset-every-4",
        "the optimizers start afresh every 4 runs",
        edit("state reset", OPTIMIZERS, "every 4"),
        base=ResetEvery4,
    ),
    wrong(
        "reset-on-task-change",
        "the optimizers start afresh when the task changes",
        edit("state reset", OPTIMIZERS, "on task change"),
        base=ResetOnTaskChange,
    ),
    wrong(
        "reset-Y2-each-step",
        "Y2_op starts afresh in each run",
        edit("state reset", "Y2_op", "each step"),
        base=ResetY2EachStep,
    ),
    wrong(
        "slots-reset-powers-kept",
        "m and v start afresh in each run, t goes on",
        edit("state reset", OPTIMIZERS, "slots each step"),
        also=[[edit("state reset", OPTIMIZERS)], [edit("beta1", OPTIMIZERS, 0.0)]],
        base=SlotsResetPowersKept,
    ),
    wrong(
        "global-counter",
        "t counts the runs of all three optimizers",
        edit("powers shared", OPTIMIZERS),
        also=[[edit("step counter", OPTIMIZERS)]],
        base=GlobalCounter,
    ),
    wrong(
        "counter-half-speed",
        "t advances on every second run only",
        edit("step counter", OPTIMIZERS, "every second run"),
        also=[[edit("unlisted", OPTIMIZERS)]],
        base=CounterPerBatchOfTwo,
    ),
    wrong(
        "counter-stands-still",
        "t stays at 1",
        edit("step counter", OPTIMIZERS, "stays at 1"),
        base=CounterStandsStill,
    ),
    wrong(
        "counter-per-variable",
        "t advances once a variable",
        edit("step counter", OPTIMIZERS, "once a variable"),
        base=CounterPerVariable,
    ),
    wrong(
        "weights-float16",
        "weights are kept in float16",
        edit("precision of variables", WEIGHTS, "float16"),
        base=Rounded,
    ),
    wrong(
        "weights-bfloat16",
        "weights are kept in bfloat16",
        edit("precision of variables", WEIGHTS, "bfloat16"),
        base=RoundedBfloat16,
    ),
    wrong(
        "head-2-float16",
        "share_Y2 is kept in float16",
        edit("precision of variables", "share_Y2", "float16"),
        base=RoundedHead2,
    ),
    wrong(
        "m-bfloat16",
        "the first moment is kept in bfloat16",
        edit("unlisted", OPTIMIZERS),
        base=SlotsInFloat16,
    ),
    wrong(
        "float64",
        "weights are returned in float64",
        edit("wrong dtype", WEIGHTS, "float64"),
        base=Float64,
    ),
    wrong(
        "float64-head-1",
        "share_Y1 is returned in float64",
        edit("wrong dtype", "share_Y1", "float64"),
        base=Float64Head1,
    ),
    wrong(
        "updated-late",
        "every update takes effect one run later",
        edit("variable updated late", WEIGHTS),
        base=UpdatedLate,
    ),
    wrong(
        "shared-updated-late",
        "the update of share_W takes effect one run later",
        edit("variable updated late", "share_W"),
        base=SharedUpdatedLate,
    ),
    wrong(
        "own-trunks",
        "each run has a shared layer of its own",
        edit("variable not shared", "share_W"),
        also=[[edit("unlisted", "share_W")]],
        base=OwnTrunks,
    ),
    wrong(
        "heads-start-alike",
        "share_Y2 starts as a copy of share_Y1",
        edit("initial weights", "share_Y2"),
        base=HeadsTied,
    ),
    wrong(
        "own-initial-weights",
        "the port draws its own initial share_W",
        edit("initial weights", "share_W"),
        base=OwnInitialWeights,
    ),
)
