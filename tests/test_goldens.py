"""The goldens: complete, what their cases say, and what real runtimes agree on."""

import functools
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from oracle import cases as oracle_cases
from oracle import goldens as oracle_goldens
from oracle import tolerance
from sampling import slow

from tf1_mtl.baseline import check, goldens, load_golden
from tf1_mtl.baseline.recordings import save_recording
from tf1_mtl.baseline.reference import OPTIMIZERS, Reference
from tf1_mtl.errors import InputError

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDENS = os.path.dirname(goldens.__file__)
CASES = oracle_cases.cases()
TRAINED = {
    "Y1": ("share_W", "share_Y1"),
    "Y2": ("share_W", "share_Y2"),
    "joint": ("share_W", "share_Y1", "share_Y2"),
}
#: All but the 1,000 steps.
SHORT = tuple(name for name in CASES if name != "joint-1000")
each_case = pytest.mark.parametrize("name", list(CASES))


@functools.lru_cache(maxsize=None)
def tolerances_of(name):
    return tolerance.run(CASES[name])


def layers_of(case):
    """Returns {layer: (input, pre-activation, output)} of every step, and gradients by variable."""

    class Watched(Reference):
        def forward(self, tasks, X):
            layers.append(super().forward(tasks, X))
            return layers[-1]

        def update(self, optimizer, gradients_now):
            gradients.append(gradients_now)
            super().update(optimizer, gradients_now)

    layers, gradients = [], []
    reference = Watched(*(case.weights[name] for name in oracle_cases.WEIGHTS))
    for batch in case.batches:
        reference.step(*batch)
    return layers, gradients


def test_there_is_a_small_golden_for_every_case_and_no_other():
    assert goldens.golden_names() == tuple(sorted(CASES))
    sizes = [os.path.getsize(os.path.join(GOLDENS, name + ".npz")) for name in CASES]
    assert sum(sizes) < 3e6


@each_case
def test_a_golden_holds_exactly_its_case(name, tmp_path):
    golden = load_golden(name)
    session, names = golden.sessions[0], golden.manifest["tensorflow_names"]
    fetches = {"joint": ("Adam", "add"), "Y1": ("Adam_1", "L2Loss"), "Y2": ("Adam_2", "L2Loss_1")}
    described = oracle_goldens.Described(
        session.graph, session.variables, names, session.article, fetches
    )
    recorded = oracle_goldens.unpack(golden)
    machine = golden.manifest["recorded_by"]
    path = str(tmp_path / "packed.npz")
    save_recording(path, oracle_goldens.pack(name, CASES[name], recorded, machine, described))
    with open(path, "rb") as ours, open(os.path.join(GOLDENS, name + ".npz"), "rb") as stored:
        assert ours.read() == stored.read()


@each_case
def test_a_golden_says_what_recorded_it(name):
    manifest = load_golden(name).manifest
    assert manifest["exposes"]
    assert manifest["recorded_by"]["tensorflow"] == "1.15.5"
    assert manifest["recorded_by"]["variables"] == "ref"
    assert set(manifest["recorded_by"]) >= {"python", "numpy", "platform", "cpu"}
    names = manifest["tensorflow_names"]
    assert len(names) == len(set(names.values())) == 23
    # Slots are numbered by creation. The optimizer of task 1 is the second one.
    assert names["Y1_op/share_W/m"] == "share_W/Adam_2"


@each_case
def test_a_step_moves_its_own_weights_and_slots_only(name):
    golden = load_golden(name)
    kept = [(run.task, run.variables) for run in golden.runs if run.variables is not None]
    assert golden.runs[0].variables is not None
    assert golden.runs[-1].variables is not None
    keys = {name: key.split("/") for key, name in golden.manifest["tensorflow_names"].items()}
    before = golden.sessions[0].initial
    assert list(before) == list(keys)
    for task, variables in kept:
        assert list(variables) == list(keys)
        for name, value in variables.items():
            assert value.dtype == np.float32
            moved = not np.array_equal(value, before[name])
            optimizer, slot = keys[name][0], keys[name][-1]
            if slot in oracle_cases.WEIGHTS:
                assert not moved or slot in TRAINED[task]
            elif slot in ("beta1_power", "beta2_power") and len(golden.runs) == len(kept):
                assert moved == (optimizer == OPTIMIZERS[task])
            elif moved:
                assert optimizer == OPTIMIZERS[task]
        before = variables


@each_case
def test_losses_are_finite_float32(name):
    for run in load_golden(name).runs:
        assert isinstance(run.loss, np.float32)
        assert np.isfinite(run.loss)


@pytest.mark.parametrize("name", [*SHORT, slow("joint-1000")])
@pytest.mark.parametrize("version", ["0.12.1", "1.0.1", "1.10.0"])
def test_real_witnesses_agree_within_the_tolerance(name, version):
    recorded = oracle_goldens.unpack(load_golden(name))
    tolerances = tolerances_of(name)
    last = max(recorded.variables)
    with np.load(os.path.join(HERE, "truth", f"goldens-{version}.npz")) as witness:
        off = np.abs(witness[name + "_losses"] - np.array(recorded.losses, float))
        assert np.all(off <= tolerances.losses)
        for weight in oracle_cases.WEIGHTS:
            value = recorded.variables[last][weight]
            off = np.abs(witness[f"{name}_{weight}"] - value.astype(float))
            assert np.all(off <= tolerances.variables[last][weight])
            # This was measured. The derived tolerance allows for worse machines.
            assert off.max() < 5e-7


@each_case
def test_no_branch_is_decided_by_rounding(name):
    """The tolerance of every kept weight stays far below one step of the learning rate."""
    case = CASES[name]
    tolerances = tolerance.run(case._replace(batches=case.batches[:30]))
    for tolerated in tolerances.variables.values():
        for name in oracle_cases.WEIGHTS:
            assert tolerated[name].max() < 1e-5  # 1/100 of a step


def test_small_gradients_are_small():
    _, gradients = layers_of(CASES["small-gradients"])
    sizes = np.abs(np.concatenate([g.ravel() for one in gradients for g in one.values()]))
    assert 0 < sizes.min() < 2e-8
    assert 1e-5 < sizes.max() < 2e-4


def test_units_at_exactly_zero_are_asked_for_a_gradient():
    case = CASES["zero-and-dead-units"]
    layers, _ = layers_of(case)
    for batch, step in zip(case.batches, layers):
        _, shared, _ = step["shared"]
        assert np.all(shared[:, 0] == 0)
        task = batch[0] if batch[0] != "joint" else "Y1"
        _, z, out = step[task]
        assert np.all(z[:, 0] == 0)
        label = batch[2] if task == "Y1" else batch[3]
        assert np.any(out[:, 0] != label[:, 0])  # so a gradient of 1 at zero would move the head
        # ... and a gradient of 1 at zero in the shared layer would move share_W.
        into_shared = ((out - label) * (z > 0)) @ case.weights["share_" + task].T
        assert np.any(into_shared[:, 0] != 0)
    assert np.sum(layers[0]["shared"][1] == 0) > len(layers[0]["shared"][1])  # also cancelled ones
    last = load_golden("zero-and-dead-units").runs[-1].variables
    assert np.all(last["share_W"][:, 0] == 0)
    assert np.all(last["share_Y1"][:, 0] == 0)


def test_units_are_dead_and_alive():
    layers, _ = layers_of(CASES["zero-and-dead-units"])
    for step in layers:
        for _, z, _ in step.values():
            assert np.any(z < 0)
            assert np.any(z > 0)
    dead = layers[0]["Y1"][1][:, 1] <= 0
    assert dead.all()


def test_perfect_targets_move_no_bit():
    golden = load_golden("perfect-targets")
    for run in golden.runs[:6]:
        assert run.loss == 0
        for name in oracle_cases.WEIGHTS:
            assert np.array_equal(run.variables[name], golden.sessions[0].initial[name])
    assert golden.runs[5].variables["beta1_power"] < 0.8
    assert all(run.loss > 0 for run in golden.runs[6:])


def test_two_data_sets_have_rows_of_their_own_and_one_label():
    runs = load_golden("two-data-sets").runs
    assert {(run.task, len(run.feeds["X"]), *sorted(run.feeds)) for run in runs} == {
        ("Y1", 5, "X", "Y1"),
        ("Y2", 9, "X", "Y2"),
    }


def test_growing_and_shrinking_spans_gradients():
    _, gradients = layers_of(CASES["growing-and-shrinking"])
    largest = [max(np.abs(g).max() for g in one.values()) for one in gradients]
    assert min(largest) < 2e-2
    assert max(largest) > 1e6


def test_joint_1000_keeps_chosen_steps():
    runs = load_golden("joint-1000").runs
    assert len(runs) == 1000
    assert [step for step, run in enumerate(runs) if run.variables] == [0, 1, 9, 99, 499, 999]
    assert runs[16].feeds["X"] is runs[0].feeds["X"]


def test_the_article_s_sessions_are_drawn_in_its_order():
    rng = np.random.RandomState(0)
    golden = load_golden("alternate")
    drawn = [rng.rand(10, 20), rng.rand(20, 20), rng.rand(20, 20)]
    for name, value in zip(oracle_cases.WEIGHTS, drawn):
        assert np.array_equal(golden.sessions[0].initial[name], value.astype(np.float32))
    for run in golden.runs:
        assert run.task == ("Y1" if rng.rand() < 0.5 else "Y2")
        for name, columns in (("X", 10), ("Y1", 20), ("Y2", 20)):
            value = (rng.rand(10, columns) * 10).astype(np.float32)
            assert np.array_equal(run.feeds[name], value)


def test_an_unknown_golden_is_rejected():
    with pytest.raises(InputError, match=r"'none', .*one of alternate, .*, two-data-sets"):
        load_golden("none")


def test_numpy_alone_is_enough():
    script = """
        import sys
        sys.modules["tensorflow"] = None  # importing it fails
        from tf1_mtl.baseline import golden_names, load_golden, load_recording, save_recording
        assert [load_golden(name).runs[-1].loss for name in golden_names()]
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True)


@pytest.mark.parametrize("port, names", [("Ref", SHORT), slow("Ref", None), slow("Resource", None)])
def test_the_running_tensorflow_conforms(port, names):
    pytest.importorskip("tensorflow")
    from ports import graph_mode

    report = check(getattr(graph_mode, port), names)
    assert report.passed, report
    assert not report.notes
