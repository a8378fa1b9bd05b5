"""Ports of `three_tasks.py` in PyTorch."""

import torch
from torch.nn import functional

from .optimizers import Adam, Network, OfPyTorch, RMSProp


class Conformant(Network):
    def build(self):
        return {
            "train_value": Adam(0.01, 0.8, 0.99, 1e-4),
            "train_label": self.label_optimizer(),
            "train_class": RMSProp(0.01, 0.9, 0.5),
        }

    def label_optimizer(self):
        return OfPyTorch(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True)

    def loss(self, task, feeds):
        shared = self.activation(feeds["X"] @ self.w["shared_W"] + self.w["shared_b"])
        return getattr(self, task)(shared, feeds)

    def activation(self, z):
        return torch.tanh(z)

    def train_value(self, shared, feeds):
        output = shared @ self.w["value_W"] + self.w["value_b"]
        return functional.mse_loss(output, feeds["targets"])

    def train_label(self, shared, feeds):
        p = torch.sigmoid(shared @ self.w["label_W"] + self.w["label_b"])
        y = feeds["labels"]
        return -(y * torch.log(p + 1e-6) + (1 - y) * torch.log(1 - p + 1e-6)).mean()

    def train_class(self, shared, feeds):
        scores = shared @ self.w["class_W"] + self.w["class_b"]
        return functional.cross_entropy(scores, feeds["classes"])


class ReluShared(Conformant):
    def activation(self, z):
        return torch.relu(z)


class NoActivation(Conformant):
    def activation(self, z):
        return z


class PlainMomentum(Conformant):
    def label_optimizer(self):
        return OfPyTorch(torch.optim.SGD, lr=0.05, momentum=0.9)


class NotCentered(Conformant):
    def build(self):
        return {**super().build(), "train_class": RMSProp(0.01, 0.9, 0.5, centered=False)}


class TorchRMSprop(Conformant):
    """Mean squares start at 0, and epsilon is not in the root."""

    def build(self):
        options = {"lr": 0.01, "alpha": 0.9, "eps": 1e-10, "momentum": 0.5, "centered": True}
        return {**super().build(), "train_class": OfPyTorch(torch.optim.RMSprop, **options)}


class DefaultEpsilon(Conformant):
    """The epsilon of `train_value` is 1e-8 in place of 1e-4."""

    def build(self):
        return {**super().build(), "train_value": Adam(0.01, 0.8, 0.99)}


class FrozenBias(Conformant):
    frozen = "label_b"


class SummedClasses(Conformant):
    def train_class(self, shared, feeds):
        return super().train_class(shared, feeds) * len(shared)


class DetachedLabels(Conformant):
    def train_label(self, shared, feeds):
        return super().train_label(shared.detach(), feeds)


class TwoMistakes(ReluShared):
    """... and the betas of `train_value` are 0.9 and 0.999."""

    def build(self):
        return {**super().build(), "train_value": Adam(0.01, epsilon=1e-4)}
