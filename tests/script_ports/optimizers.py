"""Implements optimizers of TensorFlow 1 on PyTorch parameters."""

import torch


class Adam:
    """`ApplyAdam`: epsilon is added to the uncorrected root."""

    after_correction = False

    def __init__(self, rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.rate, self.epsilon = rate, epsilon
        self.beta1, self.beta2 = torch.tensor(beta1), torch.tensor(beta2)
        self.power1, self.power2 = self.beta1.clone(), self.beta2.clone()
        self.slots = {}

    def apply(self, variables):
        """Update the variables (a dict by name) that have a gradient."""
        with torch.no_grad():
            root = torch.sqrt(1 - self.power2)
            alpha = self.rate * root / (1 - self.power1)
            epsilon = self.epsilon * root if self.after_correction else self.epsilon
            for name, w in variables.items():
                if w.grad is None:
                    continue
                m, v = self.slots.setdefault(name, (torch.zeros_like(w), torch.zeros_like(w)))
                m += (w.grad - m) * (1 - self.beta1)
                v += (w.grad**2 - v) * (1 - self.beta2)
                w -= alpha * m / (v.sqrt() + epsilon)
            self.power1 *= self.beta1
            self.power2 *= self.beta2


class AdamOfPyTorch(Adam):
    after_correction = True


class RMSProp:
    """`ApplyCenteredRMSProp`: mean squares start at one, epsilon is in the root."""

    def __init__(self, rate, decay, momentum, epsilon=1e-10, centered=True):
        self.rate, self.decay, self.momentum = rate, decay, momentum
        self.epsilon, self.centered = epsilon, centered
        self.slots = {}

    def apply(self, variables):
        """Update the variables (a dict by name) that have a gradient."""
        with torch.no_grad():
            for name, w in variables.items():
                if w.grad is None:
                    continue
                if name not in self.slots:
                    zero = torch.zeros_like(w)
                    self.slots[name] = torch.ones_like(w), zero, zero.clone()
                square, mean, moment = self.slots[name]
                square += (w.grad**2 - square) * (1 - self.decay)
                mean += (w.grad - mean) * (1 - self.decay)
                variance = square - mean**2 if self.centered else square
                moment.mul_(self.momentum).add_(
                    self.rate * w.grad / torch.sqrt(variance + self.epsilon)
                )
                w -= moment


class Adagrad:
    """`ApplyAdagrad`: sums of squares start at 0.1, without epsilon."""

    def __init__(self, rate, start=0.1, epsilon=0.0):
        self.rate, self.start, self.epsilon = rate, start, epsilon
        self.slots = {}

    def apply(self, variables):
        """Update the variables (a dict by name) that have a gradient."""
        with torch.no_grad():
            for name, w in variables.items():
                if w.grad is None:
                    continue
                total = self.slots.setdefault(name, torch.full_like(w, self.start))
                total += w.grad**2
                w -= self.rate * w.grad / (total.sqrt() + self.epsilon)


class OfPyTorch:
    """An optimizer of `torch.optim`, with the interface of the others."""

    def __init__(self, kind, **options):
        self.kind, self.options, self.optimizer = kind, options, None

    def apply(self, variables):
        """Update the variables (a dict by name) that have a gradient."""
        if self.optimizer is None:
            self.optimizer = self.kind(list(variables.values()), **self.options)
        self.optimizer.step()


class Network:
    """A port of a recording: trainable tensors by TensorFlow's names, autograd."""

    frozen = ""  #: a variable that a port does not train

    def __init__(self, weights):
        torch.set_num_threads(1)
        self.w = {name: torch.tensor(w, requires_grad=True) for name, w in weights.items()}
        self.optimizers = self.build()

    def step(self, task, feeds):
        """Trains once and returns the loss before the update."""
        loss = self.loss(task, {name: torch.tensor(feed) for name, feed in feeds.items()})
        self.backward(loss)
        self.optimizers[task].apply(self.w)
        return loss.item()

    def backward(self, loss):
        for w in self.w.values():
            w.grad = None
        loss.backward()
        if self.frozen:
            self.w[self.frozen].grad = None

    def weights(self):
        """Returns the arrays by name."""
        return {name: w.detach().numpy() for name, w in self.w.items()}
