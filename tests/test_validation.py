"""--every and --validation: what a long run prints, with the bits of a run without them."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import done, refused, result, run
from needs import needs_xla
from sampling import RUNTIME, slow_everywhere

RNG = np.random.RandomState(0)
A, B = RNG.rand(3, 2), RNG.rand(3, 4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with data to train on and to validate on, which is the current one."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.RandomState(1)
    for name, rows in (("data", 40), ("held", 7)):
        X = rng.rand(rows, 3)
        np.savez(f"{name}.npz", X=X, Y1=X @ A, Y2=X @ B)
    return tmp_path


DATA = ("--data", "data.npz", "--batch", 8)
VALIDATED = ("--validation", "held.npz", "--every", 4)


@pytest.mark.parametrize(
    ("stepping", "variables"),
    [
        slow_everywhere("session", "ref"),
        slow_everywhere("session", "resource"),
        slow_everywhere("prepared", "ref"),
        slow_everywhere("prepared", "resource"),
        slow_everywhere("in-graph", "ref"),
        slow_everywhere("in-graph", "resource"),
        pytest.param("compiled", "ref", marks=[needs_xla, *RUNTIME]),
    ],
)
def test_validation_changes_no_bit(capsys, folder, stepping, variables):
    """Every loss, and every weight, slot and random state in the checkpoint."""
    args = ("alternate", "--seed", 3, "--stepping", stepping, "--variables", variables, *DATA)
    args = (*args, "--quiet", "--save-every", 5)
    plain = done(capsys, *args, "--steps", 18, "--checkpoint", "plain").split()
    validated = done(capsys, *args, *VALIDATED, "--steps", 11, "--checkpoint", "validated")
    validated += done(capsys, *args, *VALIDATED, "--steps", 18, "--checkpoint", "validated")
    rows = [line.split() for line in validated.splitlines()]
    assert [int(row[0]) for row in rows] == [4, 8, 11, 12, 16, 18]
    assert [row[1] for row in rows] == [plain[int(row[0]) - 1] for row in rows]
    readers = [tf.train.load_checkpoint(f"{name}/model.ckpt-18") for name in ("plain", "validated")]
    names = readers[0].get_variable_to_shape_map()
    assert len(names) == 26
    for name in names:
        np.testing.assert_array_equal(*(reader.get_tensor(name) for reader in readers))


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize(
    "stepping",
    [
        "session",
        "prepared",
        "in-graph",
        pytest.param("compiled", marks=needs_xla),
    ],
)
def test_the_losses_are_those_of_the_weights_after_the_step(capsys, folder, stepping):
    args = ("alternate", "--seed", 3, "--stepping", stepping, *DATA)
    out = done(capsys, *args, *VALIDATED, "--steps", 10)
    checkpoint = ("--checkpoint", "run", "--save-every", 3)
    assert done(capsys, *args, *VALIDATED, "--steps", 10, *checkpoint) == out
    rows = [line.split() for line in out.splitlines()]
    assert [row[0] for row in rows] == ["4", "8", "10"]
    for step, _, Y1_Loss, Y2_Loss in rows:
        done(capsys, *args, "--steps", step, "--save", "w.npz")
        predict = ("predict", "--weights", "w.npz", "--data", "held.npz", "-o", "out.npz")
        shown = dict(line.split() for line in done(capsys, *predict).splitlines())
        assert (shown["Y1_Loss"], shown["Y2_Loss"]) == (Y1_Loss, Y2_Loss)


def test_every_thins_what_is_printed(capsys, folder):
    args = ("joint", "--seed", 3, "--steps", 10)
    plain = done(capsys, *args).split()
    status, out, err = run(capsys, *args, "--every", 4)
    assert status == 0
    assert err.splitlines()[1:] == ["columns: step, loss"]
    assert out == f"4 {plain[3]}\n8 {plain[7]}\n10 {plain[9]}\n"
    shown = result(capsys, *args, "--every", 4)
    assert shown["done"] == [4, 8, 10]
    assert shown["tasks"] == ["joint"] * 3
    assert np.float32(shown["losses"]).tolist() == np.float32(plain)[[3, 7, 9]].tolist()
    assert "validation" not in shown


@pytest.mark.slow
@pytest.mark.runtime
def test_json_and_the_data_of_the_article(capsys, folder):
    rng = np.random.RandomState(2)
    rows = {name: rng.rand(6, 10) for name in ("X1", "X2")}
    np.savez("two.npz", Y1=rng.rand(6, 20), Y2=rng.rand(6, 20), **rows)
    args = ("joint", "--seed", 3, "--steps", 3, "--validation", "two.npz")
    shown = result(capsys, *args, "--checkpoint", "run")
    assert (shown["done"], shown["first_step"]) == ([1, 2, 3], 0)
    assert [len(losses) for losses in shown["validation"].values()] == [3, 3]
    status, out, err = run(capsys, *args)
    assert status == 0
    assert err.splitlines()[1] == "columns: step, loss, Y1_Loss and Y2_Loss of two.npz"
    for number, line in enumerate(out.splitlines()):
        step, *losses = line.split()
        assert int(step) == number + 1
        kept = [shown["losses"], *(shown["validation"][task] for task in ("Y1_Loss", "Y2_Loss"))]
        assert [np.float32(loss) for loss in losses] == [np.float32(all_[number]) for all_ in kept]


@pytest.mark.slow
@pytest.mark.runtime
def test_logdir_goes_with_validation(capsys, folder):
    args = ("alternate", "--seed", 3, "--steps", 9, *DATA, *VALIDATED)
    assert done(capsys, *args, "--logdir", "log") == done(capsys, *args)


BAD = [
    (("--every", 0), "'0', but should be a whole number of at least 1"),
    (("--validation", "no.npz"), "no.npz: no such file"),
    (("--validation", "held.npz"), "held.npz: X has 3 columns, but should have 10, as the train"),
    (("--validation", "x.npz", *DATA), "x.npz: the arrays are X, but should be X, Y1, Y2"),
    (("--validation", "wide.npz", *DATA), "wide.npz: Y2 has 5 columns, but should have 4"),
    (("--validation", "./data.npz", *DATA), "is the file of --data, so its rows are trained on"),
    (("--validation", "held.npz", *DATA, "--record", "r.npz"), "--record: records each session"),
    (("--validation", "held.npz", *DATA, "--save", "held.npz"), "is the file of --validation"),
    (("--validation", "large.npz", *DATA, "--data-limit", 1), "more than 1 MB"),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=[text for _, text in BAD])
def test_bad_input(capsys, folder, args, message):
    np.savez("x.npz", X=np.ones((2, 3)))
    np.savez("wide.npz", X=np.ones((2, 3)), Y1=np.ones((2, 2)), Y2=np.ones((2, 5)))
    rows = 40_000
    np.savez("large.npz", X=np.ones((rows, 3)), Y1=np.ones((rows, 2)), Y2=np.ones((rows, 4)))
    assert message in refused(capsys, "joint", *args, folder=folder)
