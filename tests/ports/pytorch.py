"""Ports to PyTorch: autograd, and `torch.optim.Adam` for each of the three optimizers."""

import torch

torch.set_num_threads(1)  # products this small gain nothing from threads


class Default:
    """`torch.optim.Adam()` adds epsilon after the bias correction, TensorFlow 1.x before it."""

    adam = torch.optim.Adam

    def __init__(self, share_W, share_Y1, share_Y2):
        weights = {"share_W": share_W, "share_Y1": share_Y1, "share_Y2": share_Y2}
        self.w = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in weights.items()}
        heads = {"Y1": ["share_Y1"], "Y2": ["share_Y2"], "joint": ["share_Y1", "share_Y2"]}
        self.optimizers = {
            task: self.adam([self.w[name] for name in ["share_W", *heads[task]]]) for task in heads
        }

    def step(self, task, X, Y1, Y2):
        labels = {"Y1": Y1, "Y2": Y2}
        shared_layer = torch.relu(torch.tensor(X) @ self.w["share_W"])
        loss = torch.tensor(0.0)
        for name in labels if task == "joint" else [task]:
            layer = torch.relu(shared_layer @ self.w["share_" + name])
            loss = loss + (layer - torch.tensor(labels[name])).square().sum() / 2
        for parameter in self.w.values():
            parameter.grad = None
        loss.backward()
        self.optimizers[task].step()
        return loss.item()

    def weights(self):
        return {name: parameter.detach().numpy() for name, parameter in self.w.items()}


class HatAdam(torch.optim.Adam):
    """Adam whose epsilon is TensorFlow's: before each step it is divided by sqrt(1 - beta2^t)."""

    def __init__(self, parameters):
        super().__init__(parameters, eps=1e-8)
        self.steps = 0

    def step(self):
        self.steps += 1
        for group in self.param_groups:
            group["eps"] = 1e-8 / (1 - group["betas"][1] ** self.steps) ** 0.5
        super().step()


class Conformant(Default):
    """The knob: `eps = 1e-8 / sqrt(1 - beta2 ** t)`, set anew before step t."""

    adam = HatAdam
