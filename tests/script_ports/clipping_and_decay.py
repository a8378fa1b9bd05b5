"""Ports of `clipping_and_decay.py` in NumPy."""

import numpy as np

DECAY, LIMIT, MOMENTUM = 0.003, 0.8, 0.9


class Conformant:
    decayed = ("W1", "W2")
    momentum = MOMENTUM

    def __init__(self, weights):
        self.w = dict(weights)
        self.moments = {name: np.zeros_like(w) for name, w in weights.items()}
        self.steps = 0

    def step(self, task, feeds):
        entropy, gradients = self.entropy(feeds["X"], feeds["labels"])
        decay = 0
        for name in self.decayed:
            decay = decay + np.sum(self.w[name] ** 2) * np.float32(DECAY * self.half())
            gradients[name] = gradients[name] + np.float32(2 * DECAY * self.half()) * self.w[name]
        gradients = self.clipped(gradients)
        for name, g in gradients.items():
            self.moments[name] = self.moment(self.moments[name], g)
            self.w[name] = self.w[name] - np.float32(self.rate()) * self.moments[name]
        self.steps += 1
        return self.reported(entropy, decay)

    def entropy(self, X, labels):
        """Returns the mean cross-entropy and its gradients."""
        rows = np.arange(len(X))
        hidden = np.maximum(X @ self.w["W1"] + self.w["b1"], 0)
        logits = hidden @ self.w["W2"] + self.w["b2"]
        logits = logits - logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        into_logits = np.exp(logs)
        into_logits[rows, labels] -= 1
        into_logits /= np.float32(len(X))
        into_hidden = (into_logits @ self.w["W2"].T) * (hidden > 0)
        gradients = {
            "W1": X.T @ into_hidden,
            "b1": into_hidden.sum(axis=0),
            "W2": hidden.T @ into_logits,
            "b2": into_logits.sum(axis=0),
        }
        return -np.mean(logs[rows, labels]), gradients

    def half(self):
        return 0.5

    def clipped(self, gradients):
        norm = np.sqrt(sum(np.sum(g * g) for g in gradients.values()))
        return {name: g * (LIMIT / max(norm, LIMIT)) for name, g in gradients.items()}

    def moment(self, before, g):
        return np.float32(self.momentum) * before + g.astype(np.float32)

    def rate(self):
        return 0.1 * 0.8 ** (self.steps // 5)

    def reported(self, entropy, decay):
        return entropy + decay

    def weights(self):
        return self.w


class ClippedOneByOne(Conformant):
    def clipped(self, gradients):
        return {
            name: g * (LIMIT / max(np.sqrt(np.sum(g * g)), LIMIT)) for name, g in gradients.items()
        }


class NotClipped(Conformant):
    def clipped(self, gradients):
        return gradients


class SmoothDecay(Conformant):
    """The rate decays in every step, not every five."""

    def rate(self):
        return 0.1 * 0.8 ** (self.steps / 5)


class NoHalfInDecay(Conformant):
    def half(self):
        return 1.0


class BiasesDecayToo(Conformant):
    decayed = ("W1", "b1", "W2", "b2")


class Dampened(Conformant):
    """Momentum averages gradients: 0.9 m + 0.1 g."""

    def moment(self, before, g):
        return np.float32(0.9) * before + np.float32(0.1) * g.astype(np.float32)


class ReportsEntropy(Conformant):
    """The loss that is returned lacks the weight decay."""

    def reported(self, entropy, decay):
        return entropy


class TwoMistakes(Conformant):
    """The second layer has no bias gradient, and momentum is 0.95."""

    momentum = 0.95

    def entropy(self, X, labels):
        loss, gradients = super().entropy(X, labels)
        gradients["b2"] = np.zeros_like(gradients["b2"])
        return loss, gradients
