"""Training leaves its weights behind: --save, and what `tf1-mtl predict` makes of them."""

import json
import os

import numpy as np
import pytest
from command import done, refused, run
from long_runs import full_disk, long_run
from sampling import slow_everywhere

from tf1_mtl import InputError, build_graph, feeds, open_session, train
from tf1_mtl.weights import NAMES, Weights, load_weights, save_weights

RNG = np.random.RandomState(0)
X, X2 = RNG.rand(30, 3), RNG.rand(9, 3)
Y1, Y2 = X @ RNG.rand(3, 2), X @ RNG.rand(3, 4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with data, which is the current one."""
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", X=X, Y1=Y1, Y2=Y2)
    return tmp_path


def arrays_of(path):
    with np.load(str(path)) as file:
        return dict(file)


def trained_weights(seed, steps):
    """The weights of an alternate session of the article."""
    rng = np.random.RandomState(seed)
    net = build_graph(rng)
    with open_session(net) as session:
        session.run(net.init)
        list(train(net, session, feeds.alternate(feeds.article_draw(rng), rng, steps)))
        return dict(zip(NAMES, session.run([net.weights[name] for name in NAMES])))


def by_hand(weights, rows):
    shared = np.maximum(rows @ weights["share_W"], 0)
    return [np.maximum(shared @ weights[name], 0) for name in ("share_Y1", "share_Y2")]


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize("stepping", ["session", "prepared", "in-graph"])
def test_the_saved_weights_are_those_of_the_session(capsys, folder, stepping):
    args = ("alternate", "--seed", 7, "--steps", 12, "--stepping", stepping)
    status, out, err = run(capsys, *args)
    assert run(capsys, *args, "--save", "w.npz") == (status, out, f"{err}wrote w.npz\n")
    saved = arrays_of("w.npz")
    for name, value in trained_weights(7, 12).items():
        assert saved[name].dtype == np.float32
        np.testing.assert_array_equal(saved.pop(name), value)
    rest = {name: value.tolist() for name, value in saved.items()}
    assert rest == {"seed": 7, "step": 12, "sizes": [10, 20, 20, 20]}


@pytest.mark.slow
@pytest.mark.runtime
def test_a_checkpoint_gives_the_same_weights(capsys, folder):
    args = ("alternate", "--seed", 7, "--steps")
    done(capsys, *args, 12, "--save", "whole.npz")
    done(capsys, *args, 5, "--checkpoint", "run")
    done(capsys, *args, 12, "--checkpoint", "run", "--save", "resumed.npz")
    done(capsys, *args, 3, "--checkpoint", "run", "--save", "ended.npz")  # nothing to train
    whole = (folder / "whole.npz").read_bytes()
    assert (folder / "resumed.npz").read_bytes() == whole
    assert (folder / "ended.npz").read_bytes() == whole
    np.savez("x.npz", X=RNG.rand(4, 10))
    of_file = run(capsys, "predict", "--weights", "whole.npz", "--data", "x.npz", "--json")
    of_directory = run(capsys, "predict", "--weights", "run", "--data", "x.npz", "--json")
    assert of_file[:2] == of_directory[:2]
    assert of_directory[2].startswith("run: step 12, seed 7, 10 inputs, 20 shared units, tasks of")


def test_a_recording_is_the_same_with_and_without(capsys, folder):
    args = ("joint", "--seed", 7, "--steps", 2, "--record")
    done(capsys, *args, "plain.npz")
    done(capsys, *args, "saved.npz", "--save", "w.npz")
    assert (folder / "plain.npz").read_bytes() == (folder / "saved.npz").read_bytes()


def test_predict_gives_outputs_and_losses(capsys, folder):
    args = ("joint", "--seed", 1, "--steps", 5, "--data", "data.npz", "--quiet")
    assert run(capsys, *args, "--save", "w.npz")[0] == 0
    predict = ("predict", "--weights", "w.npz", "--data", "data.npz")
    status, out, err = run(capsys, *predict, "-o", "out.npz")
    assert status == 0
    assert err == (
        "w.npz: step 5, seed 1, 3 inputs, 20 shared units, tasks of 2 and 4\nwrote out.npz\n"
    )
    found = arrays_of("out.npz")
    names = ["Y1_Loss", "Y2_Loss", "Joint_Loss"]
    assert out == "".join(name + " " + str(found[name][()]) + "\n" for name in names)
    assert sorted(found) == ["Joint_Loss", "Y1_Loss", "Y1_layer", "Y2_Loss", "Y2_layer"]
    for layer, labels, task in zip(by_hand(arrays_of("w.npz"), X), (Y1, Y2), ("Y1", "Y2")):
        np.testing.assert_allclose(found[f"{task}_layer"], layer, rtol=1e-5)
        loss = np.square(labels - layer).sum() / 2
        np.testing.assert_allclose(found[f"{task}_Loss"], loss, rtol=1e-4)
    # The loss of step 5, before its update, is that of the weights after five steps.
    steps = run(capsys, *args[:3], "--steps", 6, "--data", "data.npz", "--quiet")[1].split()
    np.testing.assert_allclose(np.float32(steps[-1]), found["Joint_Loss"], rtol=1e-6)

    status, out, err = run(capsys, *predict, "--json", "--quiet")
    assert (status, err) == (0, "")
    shown = json.loads(out)
    assert (shown.pop("seed"), shown.pop("step")) == (1, 5)
    assert sorted(shown) == sorted(found)
    for name, value in shown.items():
        np.testing.assert_array_equal(np.float32(value), found[name])


@pytest.mark.parametrize(
    ("arrays", "shown"),
    [
        ({"X": X}, ["Y1_layer", "Y2_layer"]),
        slow_everywhere({"X": X, "Y2": Y2}, ["Y1_layer", "Y2_layer", "Y2_Loss"]),
        ({"X1": X, "X2": X2, "Y1": Y1}, ["Y1_layer", "Y1_Loss", "Y2_layer"]),
        slow_everywhere({"X1": X2, "X2": X, "Y2": Y2}, ["Y1_layer", "Y2_layer", "Y2_Loss"]),
        ({"X1": X, "X2": X, "Y1": Y1, "Y2": Y2}, ["Y1_layer", "Y1_Loss", "Y2_layer", "Y2_Loss"]),
    ],
)
def test_labels_may_be_missing(capsys, folder, arrays, shown):
    weights = Weights(RNG.rand(3, 7), RNG.rand(7, 2), RNG.rand(7, 4))
    save_weights("w.npz", weights)
    np.savez("rows.npz", **arrays)
    status, out, err = run(capsys, "predict", "--weights", "w.npz", "--data", "rows.npz")
    assert (status, err) == (0, "w.npz: 3 inputs, 7 shared units, tasks of 2 and 4\n")
    lines = out.splitlines()
    assert sorted(line.split()[0] for line in lines if line[0] == "Y") == sorted(shown)
    for number, task in enumerate(("Y1", "Y2")):
        rows = arrays.get("X", arrays.get(f"X{number + 1}"))
        at = lines.index(f"{task}_layer") + 1
        printed = [[float(value) for value in line.split()] for line in lines[at : at + len(rows)]]
        np.testing.assert_allclose(printed, by_hand(weights._asdict(), rows)[number], rtol=1e-5)


GOOD = {"share_W": np.ones((3, 4)), "share_Y1": np.ones((4, 2)), "share_Y2": np.ones((4, 4))}
BAD_WEIGHTS = [
    ({"share_Y1": None}, "share_Y1 is missing, but the arrays should be share_W, share_Y1"),
    ({"bias": np.ones(3)}, "'bias' is foreign"),
    ({"share_Y2": np.ones((5, 4))}, "share_Y2 has 5 rows, but should have 4"),
    ({"share_W": np.ones(3)}, "share_W is float64 [3], but should be two dimensions"),
    ({"share_W": np.full((3, 4), np.nan)}, "share_W[0, 0] is nan"),
    ({"share_W": np.array([[object()]])}, "is an array of Python objects"),
    ({"sizes": [3, 4, 2, 5]}, "sizes are [3, 4, 2, 5], but should be [3, 4, 2, 4]"),
    ({"seed": 1.5}, "seed is float64 [], but should be one whole number"),
    ({"step": [1]}, "step is int64 [1], but should be one whole number"),
    ({"step": -1}, "step is int64 [], but should be one whole number of at least 0"),
    ({"share_W": np.ones((5, 4))}, "data.npz: X has 3 columns, but should have 5, as the weights"),
    ({"share_Y1": np.ones((4, 1))}, "data.npz: Y1 has 2 columns, but should have 1"),
    ({"share_W": np.full((3, 4), 3e38)}, "Y1_layer is too large for float32"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_WEIGHTS, ids=[text for _, text in BAD_WEIGHTS])
def test_bad_weights(capsys, folder, changes, message):
    arrays = {**GOOD, **changes}
    np.savez("w.npz", **{name: value for name, value in arrays.items() if value is not None})
    args = ("predict", "--weights", "w.npz", "--data", "data.npz", "-o", "out.npz")
    assert message in refused(capsys, *args, folder=folder)


def test_damaged_weights_never_give_other_ones(tmp_path):
    path, damaged = tmp_path / "w.npz", tmp_path / "damaged.npz"
    save_weights(str(path), Weights(*GOOD.values(), seed=3, step=4))
    content = path.read_bytes()
    good = load_weights(str(path))
    assert (good.seed, good.step) == (3, 4)
    assert good.sizes == {"inputs": 3, "shared": 4, "tasks": (2, 4)}
    for end in range(0, len(content), 40):
        damaged.write_bytes(content[:end])
        with pytest.raises(InputError, match="cannot be read"):
            load_weights(str(damaged))
    for position in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        damaged.write_bytes(bytes(flipped))
        try:
            found = load_weights(str(damaged))
        except InputError:
            continue
        for mine, its in zip(found, good):
            np.testing.assert_array_equal(mine, its)


BAD = [
    (("predict", "--data", "data.npz"), "required: --weights"),
    (("predict", "--weights", "w.npz"), "required: --data"),
    (("predict", "--weights", "no.npz", "--data", "data.npz"), "no.npz: no such file or directory"),
    (("predict", "--weights", "w.npz", "--data", "no.npz"), "no.npz: no such file; should be"),
    (("predict", "--weights", "empty", "--data", "data.npz"), "empty: a directory without check"),
    (("predict", "--weights", "data.npz", "--data", "data.npz"), "share_W, share_Y1, share_Y2 are"),
    (("predict", "--weights", "w.npz", "--data", "w.npz"), "but should be X, Y1, Y2 (same rows)"),
    (("predict", "--weights", "w.npz", "--data", "data.npz", "-o", "w.npz"), "file of --weights"),
    (("predict", "--weights", "w.npz", "--data", "data.npz", "-o", "no/x"), "no folder 'no'"),
    (("predict", "--weights", "w.npz", "--data", "data.npz", "--device", "c"), "'c' is not there"),
    (("joint", "--save", "no/w.npz"), "no/w.npz: there is no folder 'no'. Make it first."),
    (("joint", "--save", "empty"), "empty: cannot be written"),
    (("joint", "--save", ""), "cannot be written"),
    (("joint", "--save", "pipe"), "pipe: cannot be written (not a regular file)"),
    (("joint", "--record", "pipe"), "pipe: cannot be written (not a regular file)"),
    (("joint", "--save", "/proc/w.npz"), "/proc/w.npz: cannot be written ("),
    (("joint", "--save", "./data.npz", "--data", "data.npz"), "is the file of --data"),
    (("joint", "--save", "r.npz", "--record", "r.npz"), "is the file of --record"),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=[" ".join(args) for args, _ in BAD])
def test_bad_input(capsys, folder, args, message):
    save_weights("w.npz", Weights(*GOOD.values()))
    os.mkdir("empty")
    os.mkfifo("pipe")
    assert message in refused(capsys, *args, folder=folder)


def test_a_directory_whose_checkpoints_are_damaged(capsys, folder):
    long_run(folder / "run", 20)
    np.savez("x.npz", X=RNG.rand(4, 10))
    args = ("predict", "--weights", "run", "--data", "x.npz")
    (folder / "run" / "model.ckpt-20.index").write_bytes(b"")
    status, _, err = run(capsys, *args)
    assert status == 0
    assert "damaged: model.ckpt-20 (" in err
    assert "Taking model.ckpt-10, 10 steps earlier." in err
    assert "run: step 10, seed 11" in err
    (folder / "run" / "model.ckpt-10.index").write_bytes(b"")
    assert "no checkpoint in it is intact" in refused(capsys, *args)


def test_ruined_weights_are_not_saved(capsys, folder):
    np.savez("large.npz", X=np.full((2, 3), 1e19), Y1=np.ones((2, 2)), Y2=np.ones((2, 4)))
    args = ("joint", "--data", "large.npz", "--seed", 1, "--steps", 2, "--save", "w.npz")
    status, _, err = run(capsys, *args)
    assert status == 2
    assert "step 2: the weights are infinite or not a number, so they are not saved" in err
    assert "w.npz" not in os.listdir(".")


@pytest.mark.parametrize("command", ["save", "predict"])
def test_a_full_disk(capsys, folder, command):
    """What was there stays."""
    save_weights("w.npz", Weights(*GOOD.values()))
    content = (folder / "w.npz").read_bytes()
    args = {
        "save": ("joint", "--seed", 1, "--save", "w.npz"),
        "predict": ("predict", "--weights", "w.npz", "--data", "data.npz", "-o", "out.npz"),
    }[command]
    with full_disk(500):
        status, _, err = run(capsys, *args)
    assert status == 2
    assert f"{args[-1]}: cannot be written (File too large)" in err
    assert sorted(os.listdir(".")) == ["data.npz", "w.npz"]
    assert (folder / "w.npz").read_bytes() == content
