"""Ports of `embedding_lstm.py` in PyTorch."""

import torch
from torch.nn import functional

from .optimizers import Adagrad, Network, OfPyTorch


class Conformant(Network):
    forget_bias = 1.0
    order = "ijfo"

    def build(self):
        return {"train": Adagrad(0.3)}

    def loss(self, task, feeds):
        embedded = self.w["embedding"][feeds["words"].long()]
        h = c = torch.zeros(len(embedded), len(self.w["W"]))
        outputs = []
        for x in embedded.unbind(dim=1):
            z = torch.cat([x, h], dim=1) @ self.w["kernel"] + self.w["bias"]
            gate = dict(zip(self.order, z.chunk(4, dim=1)))
            kept = torch.sigmoid(gate["f"] + self.forget_bias) * c
            c = kept + torch.sigmoid(gate["i"]) * torch.tanh(gate["j"])
            h = torch.sigmoid(gate["o"]) * torch.tanh(c)
            outputs.append(h)
        logits = torch.stack(outputs, dim=1).flatten(0, 1) @ self.w["W"] + self.w["b"]
        return functional.cross_entropy(logits, feeds["tags"].long().flatten())


class TorchAdagrad(Conformant):
    """Sums start at 0 and not at 0.1."""

    def build(self):
        return {"train": OfPyTorch(torch.optim.Adagrad, lr=0.3)}


class NoForgetBias(Conformant):
    forget_bias = 0.0


class GatesInOtherOrder(Conformant):
    order = "ifjo"


class SummedLoss(Conformant):
    """The loss is a sum over all words, not a mean."""

    def loss(self, task, feeds):
        return super().loss(task, feeds) * feeds["tags"].numel()


class FrozenEmbedding(Conformant):
    frozen = "embedding"


class LazyRate(Conformant):
    """The rate is 0.1 in place of 0.3."""

    def build(self):
        return {"train": Adagrad(0.1)}


class Accumulated(Conformant):
    """Gradients are never zeroed."""

    def backward(self, loss):
        loss.backward()
