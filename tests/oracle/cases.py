"""Defines the cases of the goldens: what is trained on what, and what each exposes. NumPy only.

Each case is one function of its seed. Seeds were chosen so that rounding does not decide a branch.
That could happen where a pre-activation or a first gradient is close to zero, by the order of a
sum. `tests/test_goldens.py` verifies it. Python 3.6 syntax, since TensorFlow 0.12.1 needs it.
"""

from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

WEIGHTS = ("share_W", "share_Y1", "share_Y2")
Batch = Tuple[str, np.ndarray, Optional[np.ndarray], Optional[np.ndarray]]


class Case(NamedTuple):
    """Holds the input of one golden."""

    exposes: str
    seed: int
    weights: Dict[str, np.ndarray]  #: float32, before step 0
    batches: List[Batch]  #: (task, X, Y1, Y2), float32; a label that is not fed is None
    keep: Optional[Tuple[int, ...]] = None  #: steps whose variables are kept; None: all
    batch: Optional[int] = None  #: rows of the placeholders; None leaves the number open

    def kept(self):
        """Returns the steps whose variables are kept."""
        return tuple(range(len(self.batches))) if self.keep is None else self.keep


class Recorded(NamedTuple):
    """What a run of a case gave."""

    losses: np.ndarray  #: float32 [steps]
    initial: Dict[str, np.ndarray]  #: as `variables`, before step 0
    #: By kept step: weights as "share_W", slots as "Optimiser/share_W/m", beta powers as
    #: "Y1_op//beta1_power".
    variables: Dict[int, Dict[str, np.ndarray]]


def cases():
    """{name: Case}, in the order of the article and then of what can go wrong."""
    return {
        "alternate": alternate(0),
        "joint": joint(0),
        "joint-1000": joint_1000(1),
        "one-task-then-the-other": one_task_then_the_other(128),
        "other-sizes": other_sizes(37),
        "two-data-sets": two_data_sets(136),
        "growing-and-shrinking": growing_and_shrinking(48),
        "small-gradients": small_gradients(2),
        "zero-and-dead-units": zero_and_dead_units(127),
        "perfect-targets": perfect_targets(15),
    }


def alternate(seed):
    rng = np.random.RandomState(seed)
    weights = article_weights(rng)
    batches = article_batches(rng, "alternate", 10)
    exposes = "the article's alternate session: what a first port gets wrong"
    return Case(exposes, seed, weights, batches, batch=10)


def joint(seed):
    rng = np.random.RandomState(seed)
    weights = article_weights(rng)
    batches = article_batches(rng, "joint", 10)
    exposes = "the article's joint session (its one run is step 0) and nine more"
    return Case(exposes, seed, weights, batches, batch=10)


def joint_1000(seed):
    rng = np.random.RandomState(seed)
    weights = article_weights(rng)
    batches = article_batches(rng, "joint", 16)
    exposes = "what is too small for ten steps: drift over 1,000 joint steps on 16 batches in turn"
    keep = (0, 1, 9, 99, 499, 999)
    return Case(exposes, seed, weights, (batches * 63)[:1000], keep=keep, batch=10)


def one_task_then_the_other(seed):
    rng = np.random.RandomState(seed)
    weights = _normal_weights(rng, inputs=6, shared=8, tasks=(5, 5))
    batches = [
        _normal_batch(rng, task, rows=6, weights=weights)
        for task in ["Y1"] * 5 + ["Y2"] * 5 + ["joint"] * 5
    ]
    exposes = "shared slots, shared beta powers: each of the three optimizers has its own"
    return Case(exposes, seed, weights, batches, batch=6)


def other_sizes(seed):
    rng = np.random.RandomState(seed)
    weights = _normal_weights(rng, inputs=5, shared=12, tasks=(3, 9))
    tasks = ("joint", "Y2", "Y1", "Y1", "joint", "Y2", "joint", "Y1", "Y2")
    batches = [_normal_batch(rng, task, rows=7, weights=weights) for task in tasks]
    exposes = "the article's sizes written into the port; a mean for the sum; negative inputs"
    return Case(exposes, seed, weights, batches, batch=7)


def two_data_sets(seed):
    rng = np.random.RandomState(seed)
    weights = _normal_weights(rng, inputs=4, shared=10, tasks=(6, 6))
    _, X1, Y1, _ = _normal_batch(rng, "Y1", rows=5, weights=weights)
    _, X2, _, Y2 = _normal_batch(rng, "Y2", rows=9, weights=weights)
    of_task = {"Y1": ("Y1", X1, Y1, None), "Y2": ("Y2", X2, None, Y2)}
    batches = [of_task[task] for task in ("Y1", "Y2", "Y2", "Y1", "Y2", "Y1", "Y1", "Y2")]
    exposes = "a label needed that is not fed; a fixed batch; swapped targets"
    return Case(exposes, seed, weights, batches)


def growing_and_shrinking(seed):
    rng = np.random.RandomState(seed)
    weights = _normal_weights(rng, inputs=6, shared=9, tasks=(4, 7))
    batches = []
    scales = (1, 100, 0.01, 10, 0.1, 30, 1, 0.03, 3, 0.01)
    tasks = ("joint", "Y1", "Y2", "joint", "Y1")
    for scale, task in zip(scales, tasks * 2):
        task, X, Y1, Y2 = _normal_batch(rng, task, rows=8, weights=weights)
        scale = np.float32(scale)
        batches.append((task, X * scale, Y1 * scale, Y2 * scale))
    exposes = "gradient clipping, AMSGrad, float16: gradients from 1e-5 to 1e6 in turn"
    return Case(exposes, seed, weights, batches, batch=8)


def small_gradients(seed):
    """Small inputs, their columns at different scales, and targets that are as small."""
    rng = np.random.RandomState(seed)
    inputs, shared, tasks, rows = 6, 8, (5, 4), 6
    weights = {
        "share_W": _float32(0.5 + rng.rand(inputs, shared)),
        "share_Y1": _float32(0.5 + rng.rand(shared, tasks[0])),
        "share_Y2": _float32(0.5 + rng.rand(shared, tasks[1])),
    }
    scale = np.array([6e-4, 2.5e-4, 1e-4, 4e-5, 1.6e-5, 6e-6])
    batches = []
    for task in ("joint", "Y1", "Y2", "joint", "Y1", "Y2", "joint", "joint"):
        X = (0.5 + rng.rand(rows, inputs)) * scale * (0.1 + 0.9 * rng.rand())
        # An output is about this large. Targets are below it, so that no gradient cancels.
        output = X.sum(axis=1, keepdims=True) * shared
        Y1, Y2 = (output * (0.2 + 0.5 * rng.rand(rows, size)) for size in tasks)
        batches.append((task, _float32(X), _float32(Y1), _float32(Y2)))
    exposes = "epsilon's size and place: gradients from 1e-4 down to 1e-8"
    return Case(exposes, seed, weights, batches, batch=rows)


def zero_and_dead_units(seed):
    """Uses small whole numbers, exact in any order of summation. The comments explain them."""
    rng = np.random.RandomState(seed)
    inputs, shared, tasks, rows = 5, 9, (6, 6), 7
    W = rng.randint(-3, 4, (inputs, shared)) + 0.25
    W[:, 0] = 0  # pre-activation exactly zero, for every row and as long as its gradient is 0
    W[:, 1] = [2, -2, 1, -1, 0]  # zero on rows whose columns agree, as the first two do
    W[:, 2] = -1  # dead on positive rows
    heads = [rng.randint(-3, 4, (shared, size)) + 0.25 for size in tasks]
    for head in heads:
        head[:, 0] = 0  # an output unit at exactly zero
        head[:, 1] = -1  # a dead output unit
    weights = dict(zip(WEIGHTS, map(_float32, [W, *heads])))
    batches = []
    for task in ("joint", "Y1", "Y2", "joint", "Y2", "Y1"):
        X = rng.randint(1, 5, (rows, inputs)).astype(float)
        X[:2] = X[:2, :1]  # equal columns
        X[2] *= -1  # a row on which a dead unit lives
        Y1, Y2 = (rng.randint(-4, 9, (rows, size)) for size in tasks)
        batches.append((task, _float32(X), _float32(Y1), _float32(Y2)))
    exposes = "ReLU's gradient at exactly zero (0), units that are dead on some rows or on all"
    return Case(exposes, seed, weights, batches, batch=rows)


def perfect_targets(seed):
    """Multiples of 1/4, exact in any order of summation, until the last steps train task 2."""
    rng = np.random.RandomState(seed)
    inputs, shared, tasks, rows = 4, 6, (5, 3), 5
    weights = {
        "share_W": _float32(rng.randint(-6, 9, (inputs, shared)) / 4),
        "share_Y1": _float32(rng.randint(-6, 9, (shared, tasks[0])) / 4),
        "share_Y2": _float32(rng.randint(-6, 9, (shared, tasks[1])) / 4),
    }
    batches = []
    for task in ("joint", "Y1", "Y2", "joint", "Y1", "Y2"):
        X = _float32(rng.randint(-8, 9, (rows, inputs)) / 2)
        batches.append((task, X, *_outputs(X, weights)))
    # The first two gradients of these Adams were zero, so their beta powers are ahead of m and v.
    for task in ("Y2", "joint", "Y2", "joint"):
        X = _float32(rng.randint(-8, 9, (rows, inputs)) / 2)
        Y1, Y2 = _outputs(X, weights)
        batches.append((task, X, Y1 + 1, Y2 - 2))
    exposes = "weight decay, noise, a division by zero: loss and gradient 0 must move no bit"
    return Case(exposes, seed, weights, batches, batch=rows)


def article_weights(rng):
    """Draws the initial weights of the article, in its order."""
    return dict(
        zip(WEIGHTS, (_float32(rng.rand(*size)) for size in ((10, 20), (20, 20), (20, 20))))
    )


def article_batches(rng, regime, steps):
    """Draws the batches of the article: in alternate training first the coin, then X, Y1, Y2."""
    batches = []
    for _ in range(steps):
        task = "joint" if regime == "joint" else ("Y1" if rng.rand() < 0.5 else "Y2")
        X, Y1, Y2 = (_float32(rng.rand(10, size) * 10) for size in (10, 20, 20))
        batches.append((task, X, Y1, Y2))
    return batches


def _normal_weights(rng, inputs, shared, tasks):
    return {
        "share_W": _float32(rng.randn(inputs, shared)),
        "share_Y1": _float32(rng.randn(shared, tasks[0])),
        "share_Y2": _float32(rng.randn(shared, tasks[1])),
    }


def _normal_batch(rng, task, rows, weights):
    """Both signs everywhere: units alive and dead, outputs above and below their targets."""
    X = rng.randn(rows, len(weights["share_W"]))
    Y1, Y2 = (2 * rng.randn(rows, weights[name].shape[1]) for name in WEIGHTS[1:])
    return task, _float32(X), _float32(Y1), _float32(Y2)


def _outputs(X, weights):
    """Returns the layers of both tasks before training."""
    shared_layer = np.maximum(X.dot(weights["share_W"]), 0)
    return tuple(np.maximum(shared_layer.dot(weights[name]), 0) for name in WEIGHTS[1:])


def _float32(array):
    return np.asarray(array, np.float32)
