"""The model in plain NumPy, written without a look at `tf1_mtl.baseline.reference`."""

import numpy as np


class Conformant:
    """NumPy needs no settings, since it has no defaults for a model."""

    def __init__(self, share_W, share_Y1, share_Y2):
        self.w = {"share_W": share_W, "share_Y1": share_Y1, "share_Y2": share_Y2}
        self.adam = {task: ({}, {}, [1.0, 1.0]) for task in ("Y1", "Y2", "joint")}

    def step(self, task, X, Y1, Y2):
        labels = {"share_Y1": Y1, "share_Y2": Y2}
        heads = list(labels) if task == "joint" else ["share_" + task]
        hidden = np.maximum(X @ self.w["share_W"], 0)
        loss, gradients, into_hidden = 0.0, {}, np.zeros_like(hidden)
        for head in heads:
            output = np.maximum(hidden @ self.w[head], 0)
            error = output - labels[head]
            loss += 0.5 * np.sum(np.square(error))
            error[output <= 0] = 0
            gradients[head] = hidden.T @ error
            into_hidden += error @ self.w[head].T
        into_hidden[hidden <= 0] = 0
        gradients["share_W"] = X.T @ into_hidden
        self.update(*self.adam[task], gradients)
        return loss

    def update(self, m, v, powers, gradients):
        powers[0] *= 0.9
        powers[1] *= 0.999
        rate = 0.001 * np.sqrt(1 - powers[1]) / (1 - powers[0])
        for name, g in gradients.items():
            m[name] = 0.9 * m.get(name, 0) + 0.1 * g
            v[name] = 0.999 * v.get(name, 0) + 0.001 * g * g
            step = rate * m[name] / (np.sqrt(v[name]) + 1e-8)
            self.w[name] = (self.w[name] - step).astype(np.float32)

    def weights(self):
        return self.w


class Default(Conformant):
    """As many write it: hyper-parameters and weights as Python and NumPy make them, in float64."""

    def __init__(self, share_W, share_Y1, share_Y2):
        super().__init__(*(np.array(w, float) for w in (share_W, share_Y1, share_Y2)))

    def update(self, m, v, powers, gradients):
        before = dict(self.w)
        super().update(m, v, powers, gradients)
        self.w.update(
            {name: w.astype(float) for name, w in self.w.items() if w is not before[name]}
        )
