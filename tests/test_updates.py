"""Optimizers and assignments against TensorFlow: five steps each, of ref and resource variables."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from evaluated_training import Training
from operation_cases import VERSION, normal_numbers
from sampling import slow

RAW = getattr(tf, "raw_ops", None)
RNG = np.random.RandomState(0)
normal = normal_numbers(RNG)
INDICES = np.array([[0, 3, 3], [1, 3, 0]], np.int32)  # repeated ones


def regularized(optimizer, l1, l2, **more):
    """Returns what makes an optimizer with these penalties."""
    strengths = {"l1_regularization_strength": l1, "l2_regularization_strength": l2}
    return lambda: optimizer(0.1, **strengths, **more)


def adagrad_da(rate, **penalties):
    start = tf.get_variable("step", (), tf.int64, tf.ones_initializer(), trainable=False)
    return tf.train.AdagradDAOptimizer(rate, start, **penalties)


FTRL = tf.train.FtrlOptimizer
OPTIMIZERS = {
    "GradientDescent": lambda: tf.train.GradientDescentOptimizer(0.1),
    "Momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "Nesterov": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "AdagradDA": regularized(adagrad_da, 0.01, 0.02),
    "RMSProp": lambda: tf.train.RMSPropOptimizer(0.01, momentum=0.5),
    "CenteredRMSProp": lambda: tf.train.RMSPropOptimizer(0.01, centered=True),
    "Adam": lambda: tf.train.AdamOptimizer(0.01),
    "Adadelta": lambda: tf.train.AdadeltaOptimizer(0.5),
    "Ftrl": regularized(FTRL, 0.01, 0.02),
    "FtrlShrinkage": regularized(FTRL, 0.3, 0.0, l2_shrinkage_regularization_strength=0.1),
    "FtrlPower": lambda: FTRL(0.1, learning_rate_power=-0.7),
    "ProximalGradientDescent": regularized(tf.train.ProximalGradientDescentOptimizer, 0.05, 0.1),
    "ProximalAdagrad": regularized(tf.train.ProximalAdagradOptimizer, 0.05, 0.1),
}
#: The bounds of these are wide: they subtract nearly equal numbers.
WIDE = ("CenteredRMSProp", "FtrlPower")


def build_optimizers(is_resource):
    X, targets = tf.placeholder(tf.float32, [4, 5]), tf.placeholder(tf.float32, [4, 3])
    indices = tf.placeholder(tf.int32, INDICES.shape)
    fetches = {}
    for name, optimizer in OPTIMIZERS.items():
        with tf.variable_scope(name, use_resource=is_resource):
            W = tf.get_variable("W", initializer=normal(5, 3))
            table = tf.get_variable("table", initializer=normal(6, 3))
            # The whole table must not be in the graph of the sparse gradient.
            looked_up = tf.nn.embedding_lookup(table, indices)
            loss = tf.reduce_mean(tf.square(tf.tanh(tf.matmul(X, W)) - targets))
            loss += tf.reduce_sum(tf.square(looked_up - 1.0))
            fetches[name + "_loss"] = loss
            fetches[name] = optimizer().minimize(loss)
    rng = np.random.RandomState(3)
    batches = [{X: rng.randn(4, 5), targets: rng.randn(4, 3), indices: INDICES} for _ in range(5)]
    batches[3][indices] = np.array([[5, 5, 2], [2, 2, 1]], np.int32)
    return fetches, lambda step: batches[step]


def build_raw_rules(is_resource):
    """Rules that no optimizer of TensorFlow 1 uses, of resource variables only."""
    gradient = tf.placeholder(tf.float32, [4, 3])
    rate, half = tf.constant(0.1), tf.constant(0.5)
    small = tf.constant(1e-3)
    fetches = {}

    def rule(name, slots, op, **inputs):
        with tf.variable_scope(name, use_resource=True):
            handles = {"var": tf.get_variable("var", initializer=normal(4, 3)).handle}
            for slot in slots:
                value = np.abs(normal(4, 3))
                handles[slot] = tf.get_variable(slot, initializer=value).handle
        fetches[name] = getattr(RAW, "ResourceApply" + op)(grad=gradient, **handles, **inputs)

    adamax = {"beta1_power": half, "lr": rate, "beta1": half, "beta2": half, "epsilon": small}
    adam = {"beta2_power": half, **adamax}
    for nesterov in (False, True):
        momentum = {"lr": rate, "momentum": half, "use_nesterov": nesterov}
        rule(f"KerasMomentum{nesterov}", ["accum"], "KerasMomentum", **momentum)
        rule(f"Adam{nesterov}", ["m", "v"], "Adam", use_nesterov=nesterov, **adam)
    rule("Amsgrad", ["m", "v", "vhat"], "AdamWithAmsgrad", **adam)
    rule("AdaMax", ["m", "v"], "AdaMax", **adamax)
    rule("AddSign", ["m"], "AddSign", lr=rate, alpha=half, sign_decay=half, beta=half)
    rule("PowerSign", ["m"], "PowerSign", lr=rate, logbase=half, sign_decay=half, beta=half)
    if VERSION >= (1, 15):
        rule("AdagradV2", ["accum"], "AdagradV2", lr=rate, epsilon=small)
    if VERSION >= (2, 4):
        strengths = {"l1": half, "l2": half, "l2_shrinkage": small, "lr_power": -half}
        times = {"lr": rate, "multiply_linear_by_lr": True}
        rule("FtrlTimesRate", ["accum", "linear"], "FtrlV2", **strengths, **times)
    rng = np.random.RandomState(3)
    return fetches, lambda step: {gradient: rng.randn(4, 3)}


def build_assignments(is_resource):
    fetches = {}
    rows, deltas = np.array([1, 3, 1], np.int32), normal(3, 2)

    def variable(name, dtype=np.float32, value=None):
        start = normal(4, 2) if value is None else np.asarray(value)
        with tf.variable_scope("assignments", use_resource=is_resource):
            return tf.get_variable(name, initializer=start.astype(dtype))

    feed = tf.placeholder(tf.float32, [4, 2])
    fetches["assign"] = tf.assign(variable("assign"), 2 * feed).op
    fetches["add"] = tf.assign_add(variable("add"), feed).op
    fetches["sub"] = tf.assign_sub(variable("sub"), feed).op
    counter = variable("counter", np.int64, 3)
    fetches["counted"] = counter.count_up_to(100)
    for kind in ("add", "sub", "mul", "div", "update", "min", "max"):
        target = variable("scatter_" + kind)
        # The order of repeated rows is open when they replace one another.
        at = [1, 3, 0] if kind == "update" else rows
        fetches[kind + "_rows"] = getattr(tf, "scatter_" + kind)(target, at, deltas + 3).op
    for kind in ("add", "sub", "update"):
        target = variable("scatter_nd_" + kind)
        at = [[0, 1], [2, 0], [0, 0]] if kind == "update" else [[0, 1], [2, 0], [0, 1]]
        fetches[kind + "_nd"] = getattr(tf, "scatter_nd_" + kind)(target, at, [0.1, 0.2, 0.3]).op
    sliced = variable("sliced")
    fetches["sliced"] = sliced[1:3, ::-1].assign([[7.0, 8.0], [9.0, 10.0]]).op
    average = tf.train.ExponentialMovingAverage(0.9, num_updates=counter)
    fetches["average"] = average.apply([variable("averaged")])
    return fetches, lambda step: {feed: np.full((4, 2), step + 0.5)}


BUILDERS = {
    "optimizers": build_optimizers,
    "raw": build_raw_rules,
    "assignments": build_assignments,
}


@pytest.fixture(scope="module")
def trainings():
    made = {}

    def get(kind, is_resource):
        if (kind, is_resource) not in made:
            made[kind, is_resource] = Training(lambda: BUILDERS[kind](is_resource))
        return made[kind, is_resource]

    return get


@pytest.mark.parametrize("is_resource", [slow(False), True], ids=["ref", "resource"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_agrees_with_tensorflow(trainings, name, is_resource):
    """Each step from the state before it, and five steps one after the other."""
    training = trainings("optimizers", is_resource)
    training.check(name + "/", widest=0.1 if name in WIDE else 1e-2)
    training.check_chained(name + "/")


def test_rules_that_no_optimizer_of_tensorflow_1_uses(trainings):
    trainings("raw", True).check(widest=1e-3)


@pytest.mark.parametrize("is_resource", [False, True], ids=["ref", "resource"])
def test_assignments_and_scatters(trainings, is_resource):
    trainings("assignments", is_resource).check("assignments/")
