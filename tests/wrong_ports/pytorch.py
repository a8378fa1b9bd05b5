"""Ports in PyTorch with mistakes of real ones. `Conformant` is right. Others change a line."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from .base import changed_port

torch.set_num_threads(1)  # products this small gain nothing from threads
HEADS = {"Y1": ["Y1"], "Y2": ["Y2"], "joint": ["Y1", "Y2"]}


class HatAdam(torch.optim.Adam):
    """Adam with the epsilon of TensorFlow 1, with a step count for each parameter."""

    def step(self):
        self.t = getattr(self, "t", 0) + 1
        for group in self.param_groups:
            group["eps"] = 1e-8 / (1 - group["betas"][1] ** self.t) ** 0.5
        super().step()


class Conformant:
    """`nn.Linear` without bias, half a sum of squares, an optimizer for each task."""

    bias = False
    optimizer = HatAdam
    options: ClassVar[Any] = {}

    def __init__(self, share_W, share_Y1, share_Y2):
        torch.manual_seed(0)
        weights = {"W": share_W, "Y1": share_Y1, "Y2": share_Y2}
        self.layers = nn.ModuleDict({k: nn.Linear(*w.shape, self.bias) for k, w in weights.items()})
        with torch.no_grad():
            for name, w in weights.items():
                self.layers[name].weight.copy_(torch.tensor(w.T))
        self.build()

    def build(self):
        self.optimizers = {
            task: self.optimizer(self.parameters("W", *heads), **self.options)
            for task, heads in HEADS.items()
        }

    def parameters(self, *names):
        return [p for name in names for p in self.layers[name].parameters()]

    def step(self, task, X, Y1, Y2):
        labels = {"Y1": torch.tensor(Y1), "Y2": torch.tensor(Y2)}
        loss = self.loss(task, torch.tensor(X), labels)
        self.train(self.optimizers[task], loss)
        return loss.item()

    def loss(self, task, X, labels):
        outputs = self.forward(task, X)
        return self.sum([self.criterion(outputs[h], labels[h]) for h in outputs])

    def forward(self, task, X):
        hidden = torch.relu(self.layers["W"](X))
        return {head: self.output(head, hidden) for head in HEADS[task]}

    def output(self, head, hidden):
        return torch.relu(self.layers[head](hidden))

    def criterion(self, output, label):
        return (output - label).square().sum() / 2

    def sum(self, losses):
        return sum(losses)

    def train(self, optimizer, loss):
        self.zero_grad(optimizer)
        loss.backward()
        self.change_gradients()
        optimizer.step()

    def zero_grad(self, optimizer):
        self.layers.zero_grad()

    def change_gradients(self):
        pass

    def weights(self):
        return {f"share_{k}": layer.weight.detach().numpy().T for k, layer in self.layers.items()}


# Correct ones


class NormSquared(Conformant):
    def criterion(self, output, label):
        return torch.norm(output - label) ** 2 / 2


class MeanTimesNumel(Conformant):
    def criterion(self, output, label):
        return nn.functional.mse_loss(output, label) * label.numel() / 2


class SumOfMse(Conformant):
    def criterion(self, output, label):
        return nn.functional.mse_loss(output, label, reduction="sum") / 2


class EinsumLoss(Conformant):
    def criterion(self, output, label):
        error = output - label
        return torch.einsum("ij,ij->", error, error) / 2


class ZeroGradOfOptimizer(Conformant):
    """`optimizer.zero_grad()` clears the parameters of this task only, which is enough."""

    def zero_grad(self, optimizer):
        optimizer.zero_grad(set_to_none=False)


class ByHand(Conformant):
    """Adam on tensors, under `no_grad`."""

    def build(self):
        self.optimizers = {task: {"t": 0} for task in HEADS}

    def train(self, state, loss):
        self.layers.zero_grad()
        loss.backward()
        state["t"] += 1
        beta1, beta2 = torch.tensor(0.9), torch.tensor(0.999)
        rate = 0.001 * torch.sqrt(1 - beta2 ** state["t"]) / (1 - beta1 ** state["t"])
        with torch.no_grad():
            for p in self.layers.parameters():
                if p.grad is not None:
                    m, v = state.setdefault(p, (torch.zeros_like(p), torch.zeros_like(p)))
                    m.lerp_(p.grad, 1 - beta1)
                    v.mul_(beta2).addcmul_(p.grad, p.grad, value=float(1 - beta2))
                    p -= rate * m / (v.sqrt() + 1e-8)


# Wrong ones: layers


RandomBias = changed_port(Conformant, bias=True)


class ZeroBias(Conformant):
    bias = True

    def build(self):
        for layer in self.layers.values():
            nn.init.zeros_(layer.bias)
        super().build()


class ReluNotAssigned(Conformant):
    """`torch.relu(z)` returns a new tensor, which nobody keeps."""

    def forward(self, task, X):
        outputs = super().forward(task, X)
        if "Y1" in outputs:
            z = self.layers["Y1"](torch.relu(self.layers["W"](X)))
            torch.relu(z)
            outputs["Y1"] = z
        return outputs


class LeakyHeads(Conformant):
    """`nn.LeakyReLU()` on the heads."""

    def output(self, head, hidden):
        return nn.LeakyReLU()(self.layers[head](hidden))


class Detached(Conformant):
    """Head 2 sees `hidden.detach()`."""

    def output(self, head, hidden):
        return super().output(head, hidden.detach() if head == "Y2" else hidden)


class Autocast(Conformant):
    def forward(self, task, X):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = super().forward(task, X)
        return {head: output.float() for head, output in outputs.items()}


class Double(Conformant):
    """`torch.set_default_dtype(torch.float64)`, and feeds cast to it."""

    def build(self):
        self.layers.double()
        super().build()

    def step(self, task, *given):
        return super().step(task, *(x.astype(np.float64) for x in given))


class OwnTrunks(Conformant):
    """Each task has a model with a shared layer of its own. That of the joint model is shown."""

    def __init__(self, *weights):
        self.models = {task: Conformant(*weights) for task in HEADS}
        self.layers = self.models["joint"].layers

    def step(self, task, *given):
        return self.models[task].step(task, *given)


# Losses


Mse = changed_port(Conformant, criterion=staticmethod(nn.MSELoss()))
MseSum = changed_port(Conformant, criterion=staticmethod(nn.MSELoss(reduction="sum")))
SmoothL1 = changed_port(Conformant, criterion=staticmethod(nn.SmoothL1Loss(reduction="sum")))


class Averaged(Conformant):
    """`loss / 2` in the joint run."""

    def sum(self, losses):
        return sum(losses) / len(losses)


class LossPerSample(Conformant):
    """Logs the loss divided by the batch size."""

    def step(self, task, X, *labels):
        return super().step(task, X, *labels) / len(X)


class LossAfterStep(Conformant):
    """A second forward pass, after `optimizer.step()`, gives the loss that is returned."""

    def step(self, task, X, Y1, Y2):
        super().step(task, X, Y1, Y2)
        labels = {"Y1": torch.tensor(Y1), "Y2": torch.tensor(Y2)}
        return self.loss(task, torch.tensor(X), labels).item()


# The training loop


class NoZeroGrad(Conformant):
    def zero_grad(self, optimizer):
        pass


class ZeroGradTooLate(Conformant):
    """`zero_grad()` stands between `backward()` and `step()`."""

    def change_gradients(self):
        self.layers.zero_grad()


class StepFirst(Conformant):
    """`step()` stands before `backward()`: an optimizer applies what the run before left."""

    def step(self, task, *given):
        self.optimizers[task].step()
        return super().step(task, *given)

    def train(self, optimizer, loss):
        self.layers.zero_grad()
        loss.backward()


class ClippedNorm(Conformant):
    def change_gradients(self):
        nn.utils.clip_grad_norm_(self.layers.parameters(), 1.0)


class ClippedValue(Conformant):
    def change_gradients(self):
        nn.utils.clip_grad_value_(self.layers.parameters(), 0.5)


class Frozen(Conformant):
    """`requires_grad_(False)` on the shared layer, as for fine-tuning."""

    def build(self):
        super().build()
        self.layers["W"].requires_grad_(False)


class Rebuilt(Conformant):
    """The optimizers are built in the training loop."""

    def train(self, optimizer, loss):
        task = next(task for task in HEADS if self.optimizers[task] is optimizer)
        self.build()
        super().train(self.optimizers[task], loss)


class Stepped(Conformant):
    """`ExponentialLR(optimizer, 0.9)`, stepped after each of its runs."""

    def train(self, optimizer, loss):
        super().train(optimizer, loss)
        for group in optimizer.param_groups:
            group["lr"] *= 0.9


# Optimizers


Adam = changed_port(Conformant, optimizer=torch.optim.Adam)
AdamW = changed_port(Conformant, optimizer=torch.optim.AdamW)
L2 = changed_port(Adam, options={"weight_decay": 0.01})
Amsgrad = changed_port(Adam, options={"amsgrad": True})
NAdam = changed_port(Conformant, optimizer=torch.optim.NAdam)
RMSprop = changed_port(Conformant, optimizer=torch.optim.RMSprop)
SGD = changed_port(Conformant, optimizer=torch.optim.SGD, options={"lr": 1e-6, "momentum": 0.9})


class FasterHeads(Conformant):
    """A parameter group with ten times the rate."""

    def build(self):
        super().build()
        for task, heads in HEADS.items():
            faster = {"params": self.parameters(*heads), "lr": 0.01}
            self.optimizers[task] = HatAdam([{"params": self.parameters("W")}, faster])


class OneAdam(Conformant):
    """One optimizer of all parameters. Those without a gradient are skipped."""

    def build(self):
        one = torch.optim.Adam(self.layers.parameters())
        self.optimizers = dict.fromkeys(HEADS, one)


class OneAdamZeros(OneAdam, ZeroGradOfOptimizer):
    """... and with gradients set to zero, not to None, the resting head moves on."""


# Returns


class Untransposed(Conformant):
    """`layer.weight` as it is stored, [outputs, inputs]."""

    def weights(self):
        return {name: w.T for name, w in super().weights().items()}


# Several


#: `nn.Linear`, `nn.MSELoss()`, `torch.optim.Adam()`.
Typical = changed_port(Mse, bias=True, optimizer=torch.optim.Adam)
SumAdam = changed_port(MseSum, optimizer=torch.optim.Adam)
AdamWMse = changed_port(Mse, optimizer=torch.optim.AdamW)


class TypicalZeroBias(ZeroBias, Mse):
    optimizer = torch.optim.Adam


class TypicalLinearHeads(Mse):
    """A regression model: no activation on the outputs, no bias."""

    optimizer = torch.optim.Adam

    def output(self, head, hidden):
        return self.layers[head](hidden)


class TypicalOneAdam(OneAdam, Mse):
    """`nn.MSELoss()` and one `torch.optim.Adam()`."""


class NoZeroGradMse(NoZeroGrad, Mse):
    optimizer = torch.optim.Adam
