"""Ports whose optimizers get other gradients: missing, clipped, scaled, stale, accumulated."""

import numpy as np

from .base import OPTIMIZERS as OPTIMIZER_OF
from .base import Plain
from .entry import HEAD_WEIGHTS, OPTIMIZERS, WEIGHTS, edit, wrong


def changed(change, places=OPTIMIZERS):
    """Return a `changed` that applies a function to the gradients of these optimizers."""

    def hook(self, optimizer, gradients):
        return change(gradients) if optimizer in places else gradients

    return hook


def by_value(limit, names=WEIGHTS):
    return lambda gradients: {
        name: np.clip(g, -limit, limit).astype(np.float32) if name in names else g
        for name, g in gradients.items()
    }


def norm(*gradients):
    return np.sqrt(sum(np.sum(g * g) for g in gradients))


def shortened(g, limit, length):
    return g * np.float32(limit) / max(length, np.float32(limit))


def by_norm(limit):
    return lambda gradients: {name: shortened(g, limit, norm(g)) for name, g in gradients.items()}


def by_global_norm(limit):
    def clip(gradients):
        length = norm(*gradients.values())
        return {name: shortened(g, limit, length) for name, g in gradients.items()}

    return clip


def stopped(task, *heads):
    """Return an `into_shared` through which these heads do not reach the shared layer."""

    def into_shared(self, now, head, gradient):
        return gradient * np.float32(0) if head in heads and now in task else gradient

    return into_shared


class Accumulated(Plain):
    """Nobody calls `zero_grad`: the gradient of a variable adds up over all steps."""

    def changed(self, optimizer, gradients):
        total = self.__dict__.setdefault("total", {})
        for name, g in gradients.items():
            total[name] = total.get(name, np.float32(0)) + g
        return {name: total[name] for name in gradients}


class AccumulatedInJoint(Accumulated):
    """... in the joint optimizer only."""

    def changed(self, optimizer, gradients):
        return super().changed(optimizer, gradients) if optimizer == "Optimiser" else gradients


class AccumulatedHead1(Accumulated):
    """... for share_Y1 only."""

    def changed(self, optimizer, gradients):
        totals = super().changed(optimizer, gradients)
        return {name: totals[name] if name == "share_Y1" else g for name, g in gradients.items()}


class Stale(Plain):
    """`optimizer.step()` comes before `backward()`: each optimizer applies its last gradients."""

    late = OPTIMIZERS

    def changed(self, optimizer, gradients):
        if optimizer not in self.late:
            return gradients
        kept = self.__dict__.setdefault("kept", {})
        before, kept[optimizer] = kept.get(optimizer, {}), gradients
        return before


class StaleInY1(Stale):
    late = ("Y1_op",)


class HeadsMoveFirst(Plain):
    """Heads are updated before the gradient of the shared layer is taken, from a new forward."""

    first = HEAD_WEIGHTS

    def step(self, task, X, Y1, Y2):
        optimizer, labels = OPTIMIZER_OF[task], {"Y1": Y1, "Y2": Y2}
        powers = self.powers_for(optimizer).copy()
        loss, gradients = self.loss_and_gradients(task, X, labels)
        now = {name: g for name, g in gradients.items() if name in self.first}
        self.apply(optimizer, now)
        self.powers_for(optimizer)[:] = powers
        _, gradients = self.loss_and_gradients(task, X, labels)
        self.apply(optimizer, {name: g for name, g in gradients.items() if name not in now})
        return loss


class SharedMovesFirst(HeadsMoveFirst):
    first = ("share_W",)


ENTRIES = (
    wrong(
        "head-1-frozen",
        "share_Y1 is never trained",
        edit("variable frozen", "share_Y1"),
        also=[[edit("gradient missing", "share_Y1")]],
        frozen=("share_Y1",),
    ),
    wrong(
        "head-2-frozen",
        "share_Y2 is never trained",
        edit("variable frozen", "share_Y2"),
        also=[[edit("gradient missing", "share_Y2")]],
        frozen=("share_Y2",),
    ),
    wrong(
        "shared-frozen",
        "share_W is never trained",
        edit("variable frozen", "share_W"),
        also=[[edit("gradient missing", "share_W")]],
        frozen=("share_W",),
    ),
    wrong(
        "heads-frozen",
        "only share_W is trained",
        edit("variable frozen", HEAD_WEIGHTS),
        also=[[edit("gradient missing", HEAD_WEIGHTS)]],
        frozen=HEAD_WEIGHTS,
    ),
    wrong(
        "shared-frozen-in-Y2-op",
        "share_W is missing in the list of variables of Y2_op",
        edit("variable frozen", "Y2_op/share_W"),
        also=[
            [edit("gradient missing", "Y2_op/share_W")],
            [edit("gradient stopped", "Y2_op/share_W")],
        ],
        frozen=("Y2_op/share_W",),
    ),
    wrong(
        "head-1-frozen-in-joint",
        "share_Y1 is missing in the list of variables of Optimiser",
        edit("variable frozen", "Optimiser/share_Y1"),
        also=[[edit("gradient missing", "Optimiser/share_Y1")]],
        frozen=("Optimiser/share_Y1",),
    ),
    wrong(
        "detached-from-head-2",
        "task 2's gradient stops before the shared layer, in all runs",
        edit("gradient stopped", "MatMul_2"),
        into_shared=stopped(("Y2", "joint"), "Y2"),
    ),
    wrong(
        "detached-from-head-1-in-joint",
        "in joint runs share_W does not learn from Y1_Loss",
        edit("gradient stopped", "Optimiser/MatMul_1"),
        into_shared=stopped(("joint",), "Y1"),
    ),
    wrong(
        "gradient-negated",
        "every step goes up",
        edit("gradient scaled", WEIGHTS, -1.0),
        also=[[edit("learning rate", OPTIMIZERS, -0.001)]],
        gradient_factor=-1.0,
    ),
    wrong(
        "gradient-reversed-head-2",
        "share_Y2 goes up",
        edit("gradient scaled", "share_Y2", -1.0),
        gradient_factor={"share_Y2": -1.0},
        also=[[edit("learning rate", "share_Y2", -0.001)]],
    ),
    wrong(
        "gradient-tenth-shared",
        "the gradient of share_W is multiplied by 0.1",
        edit("gradient scaled", "share_W", 0.1),
        also=[[edit("epsilon", "share_W", 1e-7)]],
        gradient_factor={"share_W": 0.1},
    ),
    wrong(
        "gradient-hundredth",
        "gradients are divided by 100 (loss scaling not undone)",
        edit("gradient scaled", WEIGHTS, 0.01),
        also=[[edit("epsilon", OPTIMIZERS, 1e-6)]],
        gradient_factor=0.01,
    ),
    wrong(
        "reversed-into-shared-layer",
        "the gradient into the shared layer is negated",
        edit("gradient scaled", "share_W", -1.0),
        also=[[edit("learning rate", "share_W", -0.001)]],
        into_shared=lambda self, task, head, gradient: -gradient,
    ),
    wrong(
        "halved-into-shared-in-joint",
        "share_W gets half of task 2's gradient in joint runs",
        edit("unlisted", "Optimiser/MatMul_2"),
        into_shared=lambda self, task, head, gradient: (
            gradient / 2 if (task, head) == ("joint", "Y2") else gradient
        ),
    ),
    wrong(
        "clip-value",
        "gradients are clipped to [-1, 1]",
        edit("clipped by value", WEIGHTS, 1.0),
        changed=changed(by_value(1.0)),
    ),
    wrong(
        "clip-value-0.25",
        "gradients are clipped to [-0.25, 0.25]",
        edit("clipped by value", WEIGHTS, 0.25),
        changed=changed(by_value(0.25)),
    ),
    wrong(
        "clip-value-head-1",
        "the gradient of share_Y1 is clipped to [-2, 2]",
        edit("clipped by value", "share_Y1", 2.0),
        changed=changed(by_value(2.0, ["share_Y1"])),
    ),
    wrong(
        "clip-value-Y2-op",
        "Y2_op clips gradients to [-5, 5]",
        edit("clipped by value", "Y2_op", 5.0),
        changed=changed(by_value(5.0), ["Y2_op"]),
    ),
    wrong(
        "clip-norm",
        "each gradient is clipped to norm 1",
        edit("clipped by norm", WEIGHTS, 1.0),
        changed=changed(by_norm(1.0)),
    ),
    wrong(
        "clip-norm-joint",
        "Optimiser clips each gradient to norm 7",
        edit("clipped by norm", "Optimiser", 7.0),
        changed=changed(by_norm(7.0), ["Optimiser"]),
    ),
    wrong(
        "clip-global-norm",
        "gradients are clipped to a global norm of 5",
        edit("clipped by global norm", OPTIMIZERS, 5.0),
        changed=changed(by_global_norm(5.0)),
    ),
    wrong(
        "clip-global-norm-Y1-op",
        "Y1_op clips to a global norm of 1",
        edit("clipped by global norm", "Y1_op", 1.0),
        changed=changed(by_global_norm(1.0), ["Y1_op"]),
    ),
    wrong(
        "accumulated",
        "gradients are never zeroed",
        edit("gradients accumulate", WEIGHTS),
        base=Accumulated,
    ),
    wrong(
        "accumulated-in-joint",
        "the gradients of Optimiser are never zeroed",
        edit("gradients accumulate", "Optimiser"),
        base=AccumulatedInJoint,
    ),
    wrong(
        "accumulated-head-1",
        "the gradient of share_Y1 is never zeroed",
        edit("gradients accumulate", "share_Y1"),
        base=AccumulatedHead1,
    ),
    wrong(
        "stale",
        "each optimizer applies the gradients of its step before",
        edit("gradients stale", OPTIMIZERS),
        base=Stale,
    ),
    wrong(
        "stale-in-Y1-op",
        "Y1_op applies the gradients of its step before",
        edit("gradients stale", "Y1_op"),
        base=StaleInY1,
    ),
    wrong(
        "heads-move-first",
        "share_W's gradient is taken after the heads have moved",
        edit("gradients after an update", HEAD_WEIGHTS),
        base=HeadsMoveFirst,
    ),
    wrong(
        "shared-moves-first",
        "the heads' gradients are taken after share_W has moved",
        edit("gradients after an update", "share_W"),
        base=SharedMovesFirst,
    ),
    wrong(
        "l2",
        "0.01 times the weight is added to its gradient",
        edit("L2 in the gradient", WEIGHTS, 0.01),
        l2=0.01,
    ),
    wrong(
        "l2-shared",
        "0.1 times share_W is added to its gradient",
        edit("L2 in the gradient", "share_W", 0.1),
        l2={"share_W": 0.1},
    ),
    wrong(
        "l2-Y1-op",
        "Y1_op adds 0.004 times the weight to each gradient",
        edit("L2 in the gradient", "Y1_op", 0.004),
        l2={"Y1_op": 0.004},
    ),
    wrong(
        "l2-head-2-0.37",
        "0.37 times share_Y2 is added to its gradient",
        edit("L2 in the gradient", "share_Y2", 0.37),
        l2={"share_Y2": 0.37},
    ),
)
