"""Changes rules of the model of the reference, so that it does what wrong ports do.

The rules are in `rules.py`. Their defaults are those of TensorFlow. What frameworks and people do
instead is in `known.py`, with an identifier for every deviation.
"""

from typing import Any, Dict, Optional, Tuple

import numpy as np

from deviant.alternatives import (
    ACTIVATIONS,
    LOSSES,
    ROUNDINGS,
    Function,
    leaky,
)
from deviant.optimizers import DeviantOptimizers
from deviant.rules import Rules
from tf1_mtl.baseline.reference import OPTIMIZERS, TRAINS, WEIGHTS, Layers

OTHER = {"Y1": "Y2", "Y2": "Y1", "joint": "joint"}


class Deviant(DeviantOptimizers):
    """The reference with rules changed: `Deviant(share_W, share_Y1, share_Y2, epsilon=1e-7)`.

    Args:
      share_W, share_Y1, share_Y2, dtype: As for `Reference`.
      **rules: Fields of `Rules`.
    """

    def __init__(
        self,
        share_W: np.ndarray,
        share_Y1: np.ndarray,
        share_Y2: np.ndarray,
        dtype: Any = np.float32,
        **rules: Any,
    ) -> None:
        rule = Rules(**rules)
        if rule.transposed == "inside":
            share_Y1, share_Y2 = share_Y1.T, share_Y2.T
        super().__init__(share_W, share_Y1, share_Y2, dtype, rule)
        self.joint = False
        self.show(self.shown())
        outputs = {"shared": share_W.shape[1], "Y1": share_Y1.shape[1], "Y2": share_Y2.shape[1]}
        for layer in rule.bias:
            self.variables["bias_" + layer] = self.array(np.zeros((1, outputs[layer])))
        self.start_optimizers()

    def weights(self) -> Dict[str, np.ndarray]:
        """The three weight matrices as they stand, copied."""
        return {
            name: np.array(value, self.rules.returned_as) for name, value in self.shown().items()
        }

    def shown(self) -> Dict[str, Any]:
        """The weights as the outside sees them."""
        if not self.rules.transposed:
            return {name: self.variables[name] for name in WEIGHTS}
        heads = {name: self.variables[name].T for name in WEIGHTS[1:]}
        return dict(heads, share_W=self.variables["share_W"])

    def show(self, shown: Dict[str, Any]) -> None:
        """Takes weights as `shown` gives them."""
        for name, value in shown.items():
            if self.rules.stored_as:
                value = self.pointwise(ROUNDINGS[self.rules.stored_as], value)
            turned = self.rules.transposed and name != "share_W"
            self.variables[name] = value.T if turned else value

    def step(self, task: str, X: np.ndarray, Y1: np.ndarray, Y2: np.ndarray) -> Any:
        rule = self.rules
        X, Y1, Y2 = self.fed(X, rule.X_factor), *(self.fed(Y, rule.label_factor) for Y in (Y1, Y2))
        labels = {"Y1": Y2, "Y2": Y1} if rule.swapped == "labels" else {"Y1": Y1, "Y2": Y2}
        task = OTHER[task] if rule.swapped == "tasks" else task
        if task == "joint" and rule.joint_in_turn:
            before = self.loss(self.forward(TRAINS[task], X), labels)[0]
            losses = [
                self.run(one, OPTIMIZERS[one if rule.turn_slots == "own" else task], X, labels)
                for one in rule.joint_in_turn.split()
            ]
            return before if rule.reported == "joint" else losses[0] + losses[1]
        return self.run(task, OPTIMIZERS[task], X, labels)

    def run(self, task: str, optimizer: str, X: np.ndarray, labels: Dict[str, Any]) -> Any:
        """Makes one step of a task, in the slots of this optimizer."""
        before = dict(self.variables)
        if self.rules.late == "weights":
            self.variables.update(self.kept.get("variables", {}))
        tasks = TRAINS["joint"] if self.rules.other_head == "joint loss" else TRAINS[task]
        self.joint = task == "joint"
        layers = self.forward(tasks, X)
        loss, from_loss = self.loss(layers, labels)
        gradients = self.task_gradients(task, layers, from_loss, X, labels)
        loss = self.reported_loss(task, loss, X, labels)
        self.variables.update(before)
        gradients = self.changed(optimizer, gradients)
        self.kept["forward"] = tasks, X, labels, layers, from_loss
        self.update(optimizer, gradients)
        if self.rules.stored_as:
            self.show(self.shown())
        self.kept["variables"] = before
        if self.rules.reported == "after":
            loss = self.loss(self.forward(tasks, X), labels)[0]
        return loss * self.number(self.rules.reported_factor)

    def fed(self, x: np.ndarray, factor: float) -> np.ndarray:
        if self.rules.feeds_as:
            x = ROUNDINGS[self.rules.feeds_as](x)
        return x if factor == 1 else (x * np.float32(factor)).astype(np.float32)

    def matmul(self, a: Any, b: Any) -> Any:
        if self.rules.matmul_as:
            rounding = ROUNDINGS[self.rules.matmul_as]
            a, b = self.pointwise(rounding, a), self.pointwise(rounding, b)
        product = super().matmul(a, b)
        if self.rules.product_as:
            product = self.pointwise(ROUNDINGS[self.rules.product_as], product)
        return product

    def activation(self, layer: str, z: Any) -> Any:
        z, other = self.with_bias(layer, z), self.activation_of(layer)
        return self.pointwise(other[0], z, ulps=8) if other else super().activation(layer, z)

    def slope(self, layer: str, z: Any) -> Any:
        z, rule, other = self.with_bias(layer, z), self.rules, self.activation_of(layer)
        if other:
            return self.pointwise(other[1], z, ulps=8)
        at_zero = rule.shared_slope_at_zero if layer == "shared" else rule.task_slope_at_zero
        return self.pointwise(lambda z: np.where(z == 0, at_zero, z > 0), z)

    def activation_of(self, layer: str) -> Optional[Tuple[Function, Function]]:
        """Return what replaces the ReLU, with its slope, or None if it is kept."""
        rule = self.rules
        name = rule.shared_activation if layer == "shared" else rule.task_activation
        return leaky(rule.leak) if name == "leaky" else ACTIVATIONS.get(name)

    def with_bias(self, layer: str, z: Any) -> Any:
        return z + self.variables["bias_" + layer] if layer in self.rules.bias else z

    def through(self, layer: str, z: Any, from_above: Any) -> Any:
        into_z = super().through(layer, z, from_above)
        if layer in self.rules.bias:
            ones = self.array(np.ones((1, into_z.shape[0])))
            self.kept["bias_" + layer] = self.matmul(ones, into_z)
        return into_z

    def task_loss(self, task: str, difference: Any) -> Tuple[Any, Any]:
        rule = self.rules
        factor = rule.loss_factor / 0.5
        if self.joint:
            factor *= rule.joint_factors[TRAINS["joint"].index(task)]
        if rule.mean_over:
            rows, columns = difference.shape
            factor /= rows if rule.mean_over == "batch" else rows * columns
        if rule.loss == "squares":
            loss, gradient = super().task_loss(task, difference)
        else:
            loss_of, slope_of = LOSSES[rule.loss]
            loss = self.pointwise(loss_of, difference, ulps=8).sum()
            gradient = self.pointwise(slope_of, difference, ulps=8)
        return loss * self.number(factor), gradient * self.number(factor)

    def task_gradients(
        self, task: str, layers: Layers, from_loss: Dict[str, Any], X: Any, labels: Dict[str, Any]
    ) -> Dict[str, Any]:
        """The gradients, with what the rules say about who learns from which loss."""
        rule = self.rules
        gradients = self.gradients(layers, from_loss)
        if task == "joint" and rule.shared_learns_from != "both":
            one = {rule.shared_learns_from: from_loss[rule.shared_learns_from]}
            gradients["share_W"] = self.gradients(layers, one)["share_W"]
        if task != "joint" and rule.other_head == "own loss":
            other = self.forward((OTHER[task],), X)
            head = "share_" + OTHER[task]
            gradients[head] = self.gradients(other, self.loss(other, labels)[1])[head]
        for layer in rule.bias:
            if "bias_" + layer in self.kept:
                gradients["bias_" + layer] = self.kept.pop("bias_" + layer)
        return gradients

    def reported_loss(self, task: str, loss: Any, X: Any, labels: Dict[str, Any]) -> Any:
        rule = self.rules
        if rule.reported in ("joint", "other", "own"):
            tasks = {"joint": "joint", "other": OTHER[task], "own": task}[rule.reported]
            loss = self.loss(self.forward(TRAINS[tasks], X), labels)[0]
        if rule.l2_in_loss:
            for value in self.variables.values():
                loss = loss + (value * value).sum() * self.number(rule.l2 / 2)
        return loss

    def changed(self, optimizer: str, gradients: Dict[str, Any]) -> Dict[str, Any]:
        """What is done to gradients before an optimizer gets them."""
        rule, changed = self.rules, gradients
        if rule.gradient_factor != 1:
            changed = {k: g * self.number(rule.gradient_factor) for k, g in gradients.items()}
        if rule.l2:
            regularized = self.variables if rule.l2_in_loss else changed
            zero, l2 = self.number(0), self.number(rule.l2)
            changed = {k: changed.get(k, zero) + self.variables[k] * l2 for k in regularized}
        if rule.accumulated:
            changed = {k: g + self.kept.get(("sum", k), self.number(0)) for k, g in changed.items()}
            self.kept.update({("sum", k): g for k, g in changed.items()})
        if rule.clip_value < np.inf:
            limit = rule.clip_value
            changed = {
                k: self.pointwise(lambda g: np.clip(g, -limit, limit), g)
                for k, g in changed.items()
            }
        if rule.clip_norm < np.inf:
            squares = {k: (g * g).sum() for k, g in changed.items()}
            changed = {k: self.clipped(g, squares[k], rule.clip_norm) for k, g in changed.items()}
        if rule.clip_global_norm < np.inf:
            total = self.number(0)
            for g in changed.values():
                total = total + (g * g).sum()
            limit = rule.clip_global_norm
            changed = {k: self.clipped(g, total, limit) for k, g in changed.items()}
        if rule.late == "gradients":
            kept = self.kept.get(optimizer, {})
            self.kept[optimizer] = changed
            changed = {k: kept.get(k, g * self.number(0)) for k, g in changed.items()}
        return {k: g for k, g in changed.items() if k not in rule.frozen}

    def clipped(self, g: Any, squares: Any, limit: float) -> Any:
        """A gradient whose norm, the root of these squares, is brought down to the limit."""
        above = self.pointwise(lambda norm: np.maximum(norm - limit, 0), self.sqrt(squares))
        return g * (self.number(limit) / (above + self.number(limit)))

    def apply(self, optimizer: str, gradients: Dict[str, Any]) -> None:
        """Moves share_W before the heads, or after, where the rules say that one sees the other."""
        rule = self.rules
        if "share_W" not in gradients or not (rule.head_first or rule.shared_first):
            return super().apply(optimizer, gradients)
        heads = [name for name in gradients if name != "share_W"]
        first, then = (["share_W"], heads) if rule.shared_first else (heads, ["share_W"])
        super().apply(optimizer, {name: gradients[name] for name in first})
        tasks, X, labels, layers, from_loss = self.kept["forward"]
        if rule.head_first != "backward":
            layers = self.forward(tasks, X)
            from_loss = self.loss(layers, labels)[1]
        again = self.gradients(layers, from_loss)
        super().apply(optimizer, {name: again[name] for name in then if name in again})
