"""Changes rules of the optimizers of the reference: steps, slots and beta powers of Adam.

`port.Deviant` adds what can be wrong in the model.
"""

import itertools
from typing import Any, Dict, Tuple

import numpy as np

from deviant.alternatives import OPTIMIZER_STEPS
from deviant.rules import Rules
from tf1_mtl.baseline.reference import OPTIMIZERS, Reference


class DeviantOptimizers(Reference):
    """The reference, with optimizers that follow `rules`."""

    def __init__(
        self,
        share_W: np.ndarray,
        share_Y1: np.ndarray,
        share_Y2: np.ndarray,
        dtype: Any,
        rules: Rules,
    ) -> None:
        self.rules = rules
        betas = {"beta1": rules.beta1, "beta2": rules.beta2, "epsilon": rules.epsilon}
        super().__init__(share_W, share_Y1, share_Y2, dtype, rules.learning_rate, **betas)
        self.kept: Dict[Any, Any] = {}  # what a deviation carries from step to step

    def start_optimizers(self) -> None:
        """Slots for every variable in every optimizer: deviations train what should rest."""
        self.steps_of = dict.fromkeys(OPTIMIZERS.values(), 0)
        if self.rules.shared == "slots by variable":
            self.steps_of = dict.fromkeys(("Optimiser/" + name for name in self.variables), 0)
        zeros = {name: value * self.number(0) for name, value in self.variables.items()}
        for optimizer in self.steps_of:
            self.slots[optimizer, "", "beta1_power"] = self.beta1
            self.slots[optimizer, "", "beta2_power"] = self.beta2
            for name, zero in zeros.items():
                self.slots[optimizer, name, "m"] = self.slots[optimizer, name, "v"] = zero
            for _ in range(self.rules.first_step - 1):
                super().advance(optimizer)

    def update(self, optimizer: str, gradients: Dict[str, Any]) -> None:
        shared = self.rules.shared
        if shared == "slots with zeros":
            absent = [
                k for k in self.variables if k not in gradients and k not in self.rules.frozen
            ]
            zeros = {k: self.variables[k] * self.number(0) for k in absent}
            gradients = dict(gradients, **zeros)
        if shared == "slots by variable":
            for variable, g in gradients.items():
                super().update("Optimiser/" + variable, {variable: g})
        else:
            super().update("Optimiser" if shared.startswith("slots") else optimizer, gradients)
        if shared == "moments":
            for other in OPTIMIZERS.values():
                for variable, slot in itertools.product(gradients, "mv"):
                    self.slots[other, variable, slot] = self.slots[optimizer, variable, slot]

    def advance(self, optimizer: str) -> None:
        super().advance("Optimiser" if self.rules.shared == "powers" else optimizer)
        self.steps_of[optimizer] += 1

    def corrections(self, optimizer: str) -> Tuple[Any, Any]:
        """1 - beta1^t and 1 - beta2^t, or 1 where a correction is left out."""
        owner = "Optimiser" if self.rules.shared == "powers" else optimizer
        one, which = self.number(1), self.rules.bias_correction
        return (
            one - self.slots[owner, "", "beta1_power"]
            if which in ("both moments", "the first moment only")
            else one,
            one - self.slots[owner, "", "beta2_power"]
            if which in ("both moments", "the second moment only")
            else one,
        )

    def alpha(self, optimizer: str) -> Any:
        first, second = self.corrections(optimizer)
        decay = 1 + self.rules.learning_rate_decay * self.steps_of[optimizer]
        return self.learning_rate * self.sqrt(second) / (first * self.number(decay))

    def adam(self, optimizer: str, variable: str, g: Any, alpha: Any) -> Any:
        rule = self.rules
        if rule.optimizer == "adam":
            step = super().adam(optimizer, variable, g, alpha)
        else:
            step = OPTIMIZER_STEPS[rule.optimizer](self, optimizer, variable, g)
        if rule.weight_decay:
            rate = self.learning_rate * self.number(rule.weight_decay)
            w = self.variables[variable]
            # As frameworks compute it, w * (1 - rate): the factor is rounded before the product.
            step = step + (w - w * (self.number(1) - rate))
        return step

    def denominator(self, optimizer: str, v: Any) -> Any:
        place = self.rules.epsilon_place
        second = self.corrections(optimizer)[1]
        if place == "hat":
            return super().denominator(optimizer, v)
        if place == "outside":
            return self.sqrt(v) + self.epsilon * self.sqrt(second)
        return self.sqrt(v + (self.epsilon * second if place == "root outside" else self.epsilon))
