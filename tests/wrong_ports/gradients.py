"""Ports whose optimizers get other gradients: missing, clipped, scaled, stale, accumulated."""

import numpy as np

from .base import OPTIMIZERS as OPTIMIZER_OF
from .base import Plain
from .entry import (
    HEAD_WEIGHTS,
    OPTIMIZERS,
    RELUS,
    WEIGHTS,
    at,
    each,
    edit,
    mistake,
    setting,
    wrong,
    wrong_class,
)


def frozen(places):
    """Returns the mistake of variables that are not trained, in all optimizers or in one."""
    missing = edit("gradient missing", places)
    return mistake("variable frozen", places, also=[[missing]], frozen=tuple(each(places, None)))


wrong("head-1-frozen", frozen("share_Y1"))
wrong("head-2-frozen", frozen("share_Y2"))
wrong("shared-frozen", frozen("share_W"))
wrong("heads-frozen", frozen(HEAD_WEIGHTS))
wrong(
    "shared-frozen-in-Y2-op",
    frozen("Y2_op/share_W"),
    also=[[edit("gradient stopped", "Y2_op/share_W")]],
)
wrong("head-1-frozen-in-joint", frozen("Optimiser/share_Y1"))


def into_shared(kind, places, value, runs, head, change):
    """Returns the mistake of another gradient from a head into the shared layer, in some runs."""

    def hook(self, task, name, gradient):
        return change(gradient) if task in runs and name == head else gradient

    return mistake(kind, places, value, into_shared=hook)


def stopped(places, runs, head):
    return into_shared("gradient stopped", places, None, runs, head, lambda g: g * np.float32(0))


DETACHED_HEAD_2 = stopped("MatMul_2", ("Y2", "joint"), "Y2")

wrong("detached-from-head-2", DETACHED_HEAD_2)
wrong("detached-from-head-2-in-joint", stopped("Optimiser/MatMul_2", ("joint",), "Y2"))
wrong("detached-from-head-1-in-joint", stopped("Optimiser/MatMul_1", ("joint",), "Y1"))
wrong(
    "halved-into-shared-in-joint",
    into_shared("unlisted", "Optimiser/MatMul_2", None, ("joint",), "Y2", lambda g: g / 2),
)
scaled = setting("gradient_factor", "gradient scaled")

for id, places, factor, equal in (
    ("gradient-negated", WEIGHTS, -1.0, edit("learning rate", OPTIMIZERS, -0.001)),
    ("gradient-reversed-head-2", "share_Y2", -1.0, edit("learning rate", "share_Y2", -0.001)),
    ("gradient-tenth-shared", "share_W", 0.1, edit("epsilon", "share_W", 1e-7)),
    ("gradient-doubled", WEIGHTS, 2.0, edit("epsilon", OPTIMIZERS, 1e-8 / 2)),
    ("gradient-times-1.54", WEIGHTS, 1.54, edit("epsilon", OPTIMIZERS, 1e-8 / 1.54)),
    # Loss scaling is not undone.
    ("gradient-hundredth", WEIGHTS, 0.01, edit("epsilon", OPTIMIZERS, 1e-6)),
):
    wrong(id, scaled(places, factor), also=[[equal]])


@wrong_class(
    "reversed-into-shared-layer",
    edit("gradient scaled", "share_W", -1.0),
    also=[[edit("learning rate", "share_W", -0.001)]],
)
class Reversed(Plain):
    """The gradient into the shared layer is negated."""

    def into_shared(self, task, head, gradient):
        return -gradient


def clipped(kind, places, limit, change):
    """Returns the mistake of gradients that are changed before these optimizers."""

    def changed(self, optimizer, gradients):
        return change(gradients)

    return mistake(kind, places, limit, changed=at(places, changed))


def clipped_by_value(places, limit):
    def clip(gradients):
        return {name: np.clip(g, -limit, limit) for name, g in gradients.items()}

    return clipped("clipped by value", places, limit, clip)


def norm(*gradients):
    return np.sqrt(sum(np.sum(g * g) for g in gradients))


def shortened(g, limit, length):
    return g * np.float32(limit) / max(length, np.float32(limit))


def clipped_by_norm(places, limit):
    def clip(gradients):
        return {name: shortened(g, limit, norm(g)) for name, g in gradients.items()}

    return clipped("clipped by norm", places, limit, clip)


def clipped_by_global_norm(places, limit):
    def clip(gradients):
        length = norm(*gradients.values())
        return {name: shortened(g, limit, length) for name, g in gradients.items()}

    return clipped("clipped by global norm", places, limit, clip)


wrong("clip-value", clipped_by_value(OPTIMIZERS, 1.0))
wrong("clip-value-0.77", clipped_by_value(OPTIMIZERS, 0.77))
wrong("clip-value-0.25", clipped_by_value(OPTIMIZERS, 0.25))
wrong("clip-value-Y2-op", clipped_by_value("Y2_op", 5.0))
wrong("clip-norm", clipped_by_norm(OPTIMIZERS, 1.0))
wrong("clip-norm-0.77", clipped_by_norm(OPTIMIZERS, 0.77))
wrong("clip-norm-joint", clipped_by_norm("Optimiser", 7.0))
wrong("clip-global-norm", clipped_by_global_norm(OPTIMIZERS, 5.0))
wrong("clip-global-norm-1", clipped_by_global_norm(OPTIMIZERS, 1.0))
wrong("clip-global-norm-0.77", clipped_by_global_norm(OPTIMIZERS, 0.77))
wrong("clip-global-norm-Y1-op", clipped_by_global_norm("Y1_op", 1.0))


@wrong_class("clip-value-head-1", edit("clipped by value", "share_Y1", 2.0))
class Head1Clipped(Plain):
    """The gradient of share_Y1 is clipped to [-2, 2]."""

    def changed(self, optimizer, gradients):
        return {
            name: np.clip(g, -2, 2) if name == "share_Y1" else g for name, g in gradients.items()
        }


@wrong_class("accumulated", edit("gradients accumulate", WEIGHTS))
@wrong_class("accumulated-in-joint", edit("gradients accumulate", "Optimiser"), runs=["Optimiser"])
@wrong_class("accumulated-head-1", edit("gradients accumulate", "share_Y1"), names=["share_Y1"])
class Accumulated(Plain):
    """Nobody calls `zero_grad`: the gradient of a variable adds up over all steps."""

    runs, names = OPTIMIZERS, WEIGHTS

    def changed(self, optimizer, gradients):
        if optimizer not in self.runs:
            return gradients
        sums = {name: self.kept.get(name, np.float32(0)) + g for name, g in gradients.items()}
        self.kept.update(sums)
        return {name: sums[name] if name in self.names else g for name, g in gradients.items()}


@wrong_class("stale", edit("gradients stale", OPTIMIZERS))
@wrong_class("stale-in-Y1-op", edit("gradients stale", "Y1_op"), late=["Y1_op"])
class Stale(Plain):
    """`optimizer.step()` comes before `backward()`: each optimizer applies its last gradients."""

    late = OPTIMIZERS

    def changed(self, optimizer, gradients):
        if optimizer not in self.late:
            return gradients
        before, self.kept[optimizer] = self.kept.get(optimizer, {}), gradients
        return before


@wrong_class("weights-stale", edit("weights stale", ()))
class StaleWeights(Plain):
    """Gradients are taken at the weights before the last update, and applied to those after it."""

    def loss_and_gradients(self, task, X, labels):
        now = dict(self.w)
        self.w = self.kept.get("weights", now)
        found = super().loss_and_gradients(task, X, labels)
        self.w, self.kept["weights"] = now, dict(now)
        return found


@wrong_class("heads-move-first", edit("gradients after an update", HEAD_WEIGHTS))
@wrong_class("shared-moves-first", edit("gradients after an update", "share_W"), first=["share_W"])
class HeadsMoveFirst(Plain):
    """Heads are updated before the gradient of the shared layer is taken, from a new forward."""

    first = HEAD_WEIGHTS

    def step(self, task, X, Y1, Y2):
        optimizer = OPTIMIZER_OF[task]
        X, labels = self.fed(X, {"Y1": Y1, "Y2": Y2})
        powers = self.powers_for(optimizer).copy()
        loss, gradients = self.loss_and_gradients(task, X, labels)
        now = {name: g for name, g in gradients.items() if name in self.first}
        self.apply(optimizer, now)
        self.powers_for(optimizer)[:] = powers
        _, gradients = self.loss_and_gradients(task, X, labels)
        self.apply(optimizer, {name: g for name, g in gradients.items() if name not in now})
        return loss


@wrong_class("heads-move-before-backward", edit("gradients through moved weights", HEAD_WEIGHTS))
class HeadsMoveBeforeBackward(HeadsMoveFirst):
    """... without a new forward: the gradient flows back through heads that have moved."""

    def step(self, *given):
        self.kept = dict(zip(RELUS, self.w.values()))
        return super().step(*given)

    def layer(self, product, relu, x, weights):
        return super().layer(product, relu, x, self.kept[relu])


l2 = setting("l2", "L2 in the gradient")

wrong("l2", l2(WEIGHTS, 0.01))
wrong("l2-0.0077", l2(WEIGHTS, 0.0077))
wrong("l2-shared", l2("share_W", 0.1))
wrong("l2-Y1-op", l2("Y1_op", 0.004))
wrong("l2-head-2-0.37", l2("share_Y2", 0.37))
