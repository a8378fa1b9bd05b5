"""The NumPy reference against what real TensorFlow recorded, and the bounds on its rounding."""

import numpy as np
import pytest
from oracle.goldens import slots
from oracle.tolerance import BoundedReference

from tf1_mtl.baseline import Reference, error_bounds, golden_names, load_golden
from tf1_mtl.baseline.error_bounds import SINGLE, SQRT_ULPS, UNIT, ErrorBounded
from tf1_mtl.baseline.recordings import Run
from tf1_mtl.baseline.reference import OPTIMIZERS, TRAINS, WEIGHTS

BETAS = {"m": np.float32(0.9), "v": np.float32(0.999)}


def _initial(golden):
    return [golden.sessions[0].initial[name] for name in WEIGHTS]


def batch(golden, run):
    """Returns the arguments of a step. A label that was not fed is zeros."""
    X, labels = run.feeds["X"], []
    for name in WEIGHTS[1:]:
        outputs = golden.sessions[0].initial[name].shape[1]
        labels.append(run.feeds.get(name[-2:], np.zeros((len(X), outputs), np.float32)))
    return (run.task, X, *labels)


def _recorded_steps():
    """Every step whose slots before and after it are in a golden."""
    for case in golden_names():
        golden = load_golden(case)
        before = Run("", {}, variables=golden.sessions[0].initial)
        for step, run in enumerate(golden.runs):
            if run.variables is not None and before.variables is not None:
                yield case, step, run, slots(golden, before), before.variables
            before = run


STEPS = list(_recorded_steps())


def test_every_golden_has_steps_to_prove_adam_on():
    assert {case for case, *_ in STEPS} == set(golden_names())
    assert len(STEPS) >= 80


@pytest.mark.parametrize("case", golden_names())
def test_slots_are_bit_exact_given_the_gradients(case):
    """A gradient next to ours gives both recorded slots of every element, bit for bit.

    The gradient itself is not recorded. It is one of the few float32 numbers that give the recorded
    `m`; one of these must give the recorded `v` too.
    """
    for _, _, run, before, _ in (step for step in STEPS if step[0] == case):
        optimizer, after = OPTIMIZERS[run.task], slots(load_golden(case), run)
        for head in ("share_W", *("share_" + task for task in TRAINS[run.task])):
            m0, v0 = before[optimizer, head, "m"], before[optimizer, head, "v"]
            m1, v1 = after[optimizer, head, "m"], after[optimizer, head, "v"]
            estimate = m0.astype(float) + (m1.astype(float) - m0) / (1 - float(BETAS["m"]))
            # The smallest difference that a subtraction in float32 can show.
            spacing = np.spacing(np.maximum(np.abs(estimate), np.abs(m0)).astype(np.float32))
            found = np.zeros(m0.shape, bool)
            for offset in range(-24, 25):
                g = (estimate + offset * spacing.astype(float) / 2).astype(np.float32)
                found |= _given(g, m0, v0, m1, v1)
                found |= _given(np.nextafter(g, np.float32(np.inf)), m0, v0, m1, v1)
            assert found.all(), (case, head, int((~found).sum()))


def _given(g, m0, v0, m1, v1):
    adam = Reference(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)))
    adam.slots["Optimiser", "share_W", "m"] = m0
    adam.slots["Optimiser", "share_W", "v"] = v0
    adam.adam("Optimiser", "share_W", g, np.float32(0))
    same_m = adam.slots["Optimiser", "share_W", "m"] == m1
    return same_m & (adam.slots["Optimiser", "share_W", "v"] == v1)


@pytest.mark.parametrize("case", golden_names())
def test_weights_follow_from_the_slots(case):
    """Bit for bit, given the square root: TensorFlow 1.x's own is up to 4 ulp off, mostly 0 or 1,
    which seldom reaches a bit of the weight."""
    exact = elements = 0
    for _, _, run, before, weights in (step for step in STEPS if step[0] == case):
        optimizer, after = OPTIMIZERS[run.task], slots(load_golden(case), run)
        adam = Reference(*_initial(load_golden(case)))
        for power in ("beta1_power", "beta2_power"):
            adam.slots[optimizer, "", power] = before[optimizer, "", power]
        alpha = adam.alpha(optimizer)
        for name in WEIGHTS:
            if (optimizer, name, "m") not in after:
                continue
            m, root = after[optimizer, name, "m"], np.sqrt(after[optimizer, name, "v"])
            found = np.zeros(m.shape, bool)
            for ulps in range(-SQRT_ULPS, SQRT_ULPS + 1):
                off = root + np.float32(ulps) * np.spacing(root)
                w = weights[name] - m * alpha / (off + adam.epsilon)
                found |= w == run.variables[name]
                exact += int((w == run.variables[name]).sum()) if ulps == 0 else 0
            assert found.all(), (case, name)
            elements += found.size
    assert exact >= 0.98 * elements


@pytest.mark.parametrize("case", golden_names())
def test_beta_powers_are_bit_exact(case):
    golden = load_golden(case)
    reference = Reference(*_initial(golden))
    for run in golden.runs:
        reference.step(*batch(golden, run))
        for key, value in (slots(golden, run) or {}).items():
            if key[2].endswith("_power"):
                power = reference.slots[key]
                # TensorFlow flushes subnormal float32 numbers to zero.
                assert power == value or (value == 0 and power < SINGLE.tiny), key


def test_given_this_tensorflow_s_gradients_adam_is_bit_exact():
    tf = pytest.importorskip("tensorflow.compat.v1")
    golden = load_golden("joint")
    with tf.Graph().as_default():
        weights = [tf.Variable(value, use_resource=False) for value in _initial(golden)]
        X, Y1, Y2 = (tf.placeholder("float") for _ in range(3))
        shared_layer = tf.nn.relu(tf.matmul(X, weights[0]))
        Y1_layer, Y2_layer = (tf.nn.relu(tf.matmul(shared_layer, w)) for w in weights[1:])
        loss = tf.nn.l2_loss(Y1 - Y1_layer) + tf.nn.l2_loss(Y2 - Y2_layer)
        adam = tf.train.AdamOptimizer()
        gradients = tf.gradients(loss, weights)
        op = adam.minimize(loss)
        slots = [[adam.get_slot(w, slot) for w in weights] for slot in ("m", "v")]
        reference = Reference(*_initial(golden))
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            root = session.run(tf.sqrt(tf.constant(np.arange(1, 4096, dtype=np.float32))))
            exact_root = np.array_equal(root, np.sqrt(np.arange(1, 4096, dtype=np.float32)))
            for run in golden.runs:
                feed = dict(zip((X, Y1, Y2), batch(golden, run)[1:]))
                given = session.run(gradients, feed)
                session.run(op, feed)
                before = dict(reference.variables)
                reference.update("Optimiser", dict(zip(WEIGHTS, given)))
                after, (m, v) = session.run([weights, slots])
                for i, name in enumerate(WEIGHTS):
                    assert np.array_equal(reference.slots["Optimiser", name, "m"], m[i])
                    assert np.array_equal(reference.slots["Optimiser", name, "v"], v[i])
                    # A root that is some ulp off moves the step by as many, and each of the two
                    # divisions and the two subtractions may then round to the other neighbour.
                    step = np.spacing(np.abs(after[i] - before[name]))
                    room = (SQRT_ULPS + 1) * step + np.spacing(np.abs(after[i]))
                    off = np.abs(reference.variables[name] - after[i])
                    assert (off <= (0 if exact_root else room)).all()
                    reference.variables[name] = after[i]


@pytest.mark.slow
@pytest.mark.runtime
def test_this_tensorflow_s_square_roots_are_within_the_bound():
    """Of every mantissa."""
    tf = pytest.importorskip("tensorflow.compat.v1")
    bits = np.float32([1, 4]).view(np.uint32)
    x = np.arange(*bits, dtype=np.uint32).view(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        fed = tf.placeholder("float")
        root = session.run(tf.sqrt(fed), {fed: x})
    right = np.sqrt(x)
    assert (np.abs(root - right) <= SQRT_ULPS * np.spacing(right)).all()
    assert (root == right).mean() > 0.5


def test_losses_and_weights_as_recorded():
    """Ten joint steps of the article agree, up to the ulps of another order of summation."""
    golden = load_golden("joint")
    reference = Reference(*_initial(golden))
    for run in golden.runs:
        loss = reference.step(*batch(golden, run))
        assert abs(loss - run.loss) <= 4 * np.spacing(run.loss)
        for name, value in reference.weights().items():
            assert value.dtype == np.float32
            np.testing.assert_allclose(value, run.variables[name], rtol=0, atol=5e-7)


def test_float64_is_computed_in_float64_and_shown_in_float32():
    golden = load_golden("joint")
    reference = Reference(*_initial(golden), dtype=np.float64)
    assert reference.step(*batch(golden, golden.runs[0])).dtype == np.float64
    assert all(value.dtype == np.float32 for value in reference.weights().values())
    assert reference.variables["share_W"].dtype == np.float64


def test_bounds_of_exact_numbers_are_zero():
    whole = ErrorBounded(np.arange(6.0).reshape(2, 3) / 4)
    transposed = error_bounds.structural(np.transpose, whole)
    assert not error_bounds.matmul(whole, transposed).error.any()
    assert not error_bounds.total(whole * whole).error.any()
    assert not (whole - whole).error.any()
    third = ErrorBounded(1.0) / ErrorBounded(3.0)
    assert 0 < third.error <= 2 * UNIT / 3
    large = ErrorBounded(np.full((2, 2), 4097.0))
    assert error_bounds.matmul(large, large).error.any()  # 2 * 4097^2 has more than 24 bits


def test_bounds_enclose_any_order_of_summation():
    rng = np.random.RandomState(0)
    a, b = (rng.randn(50).astype(np.float32) for _ in range(2))
    bound = error_bounds.matmul(ErrorBounded(a[None]), ErrorBounded(b[:, None]))
    for _ in range(200):
        total = np.float32(0)
        for i in rng.permutation(50):
            total += a[i] * b[i]
        assert abs(total - bound.value[0, 0]) <= bound.error[0, 0]
    assert bound.error[0, 0] <= error_bounds.gamma(50) * np.abs(a * b).sum() * 1.001


def test_bounded_reference_keeps_a_zero_gradient_exact():
    golden = load_golden("perfect-targets")
    bounded = BoundedReference(*_initial(golden))
    loss = bounded.step(*batch(golden, golden.runs[0]))
    assert loss.value == 0
    assert loss.error == 0
    assert all(not x.error.any() for x in bounded.variables.values())
