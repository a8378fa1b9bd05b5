"""Ports of `convolution.py` in PyTorch, with images as [batch, channels, height, width]."""

import torch
from torch.nn import functional

from .optimizers import Adam, AdamOfPyTorch, Network


class Conformant(Network):
    def build(self):
        return {"train": Adam(0.05)}

    def loss(self, task, feeds):
        images = feeds["images"].permute(0, 3, 1, 2)
        first = self.pool(self.first_activation(self.convolution(images, 1, padding=1)))
        second = self.second_activation(self.convolution(first, 2))
        pooled = functional.avg_pool2d(second, 2, stride=1)
        logits = pooled.reshape(-1, 6) @ self.w["W"] + self.w["b"]
        return functional.cross_entropy(logits, feeds["labels"])

    def convolution(self, x, number, **options):
        kernel = self.w[f"filter_{number}"].permute(3, 2, 0, 1)
        return functional.conv2d(x, kernel, self.w[f"bias_{number}"], **options)

    def pool(self, x):
        return functional.max_pool2d(x, 2)

    def first_activation(self, z):
        return torch.relu(z)

    def second_activation(self, z):
        return torch.relu(z)


class AveragePoolFirst(Conformant):
    def pool(self, x):
        return functional.avg_pool2d(x, 2)


class NoReluAfterSecond(Conformant):
    def second_activation(self, z):
        return z


class LeakyFirst(Conformant):
    def first_activation(self, z):
        return functional.leaky_relu(z, 0.1)


class TorchAdam(Conformant):
    def build(self):
        return {"train": AdamOfPyTorch(0.05)}


class DefaultRate(Conformant):
    """The rate is 0.001 in place of 0.05."""

    def build(self):
        return {"train": Adam()}


class FrozenFirst(Conformant):
    frozen = "filter_1"


class SummedLoss(Conformant):
    """The loss is a sum over the batch, not a mean."""

    def loss(self, task, feeds):
        return super().loss(task, feeds) * len(feeds["images"])
