"""The options of alternate, joint and run: record, plot, log, step, checkpoint."""

import builtins
import glob
import sys

import forked
import numpy as np
import pytest
from command import refused, result
from needs import needs_matplotlib
from sampling import RUNTIME, slow_everywhere

from tf1_mtl import cli
from tf1_mtl.baseline import load_recording


def losses(capsys, *args):
    """The losses that a command gives."""
    return result(capsys, *args, "--quiet")["losses"]


def test_record_changes_no_loss_and_keeps_them(capsys, tmp_path):
    path = tmp_path / "run.npz"
    args = ("alternate", "--seed", 3, "--steps", 6)
    assert losses(capsys, *args, "--record", path) == losses(capsys, *args)
    recorded = load_recording(str(path))
    kept = [(run.task, float(run.loss)) for run in recorded.runs if run.task]
    assert [loss for _, loss in kept] == losses(capsys, *args)
    assert (recorded.manifest["seed"], recorded.manifest["regime"]) == (3, "alternate")


def test_a_script_is_recorded(capsys, tmp_path, monkeypatch):
    for place, name in ((sys, "argv"), (builtins, "__import__")):
        monkeypatch.setattr(place, name, getattr(place, name))  # `run` lasts
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    script, path = tmp_path / "script.py", tmp_path / "run.npz"
    script.write_text(
        "import tensorflow.compat.v1 as tf\n"
        "with tf.Graph().as_default(), tf.Session() as session:\n"
        "    print(session.run(tf.constant(2.0) * 3.0))\n"
    )
    from tf1_mtl import legacy_script
    from tf1_mtl.baseline import recording

    with recording(str(path), script="script.py"):
        legacy_script.run(str(script))
    assert capsys.readouterr().out == "6.0\n"
    (run,) = load_recording(str(path)).runs
    assert [float(value) for value in run.fetched.values()] == [6.0]


@pytest.mark.parametrize(
    "args",
    [
        slow_everywhere(("joint", "--record", "file.npz")),
        ("joint", "--save", "file.npz"),
        ("predict", "--weights", "weights.npz", "--data", "data.npz", "-o", "file.npz"),
        pytest.param(("joint", "--plot", "file.svg"), marks=[needs_matplotlib, *RUNTIME]),
        pytest.param(("draw", "first", "-o", "file.svg"), marks=needs_matplotlib),
        pytest.param(("draw", "--golden", "joint", "-o", "file.svg"), marks=needs_matplotlib),
    ],
    ids=" ".join,
)
def test_a_file_that_is_written_or_replaced_is_reported(capsys, tmp_path, monkeypatch, args):
    monkeypatch.chdir(tmp_path)
    sizes = {"share_W": (3, 4), "share_Y1": (4, 2), "share_Y2": (4, 2)}
    np.savez("weights.npz", **{name: np.ones(shape) for name, shape in sizes.items()})
    np.savez("data.npz", X=np.ones((5, 3)))
    (file,) = (arg for arg in args if arg.startswith("file."))
    for line in (f"wrote {file}", f"replaced {file}"):
        assert cli.main([*args]) == 0
        assert capsys.readouterr().err.splitlines()[-1] == line
    if args[0] != "draw":
        assert cli.main([*args, "--quiet"]) == 0
        assert capsys.readouterr().err == ""


def test_a_recording_of_a_script_that_fails_is_reported(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os\nos.mkdir('sub')\nos.chdir('sub')\nraise SystemExit(3)\n")
    done = forked.tf1_mtl("run", "--record", "run.npz", "script.py", cwd=tmp_path)
    note, wrote = done.stderr.splitlines()
    assert (done.returncode, wrote) == (3, "wrote run.npz")
    assert "run.npz: no recorded run trains" in note
    assert load_recording(str(tmp_path / "run.npz")).runs == ()


def test_on_a_terminal_an_option_behind_the_script_is_noted(capsys, monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr("tf1_mtl.legacy_script.run", lambda *given: ran.append(given))
    monkeypatch.setattr("tf1_mtl.legacy_script.prepare", lambda seed: None)
    monkeypatch.setattr("tf1_mtl.legacy_script.show_warnings", lambda: None)
    (tmp_path / "script.py").touch()
    monkeypatch.chdir(tmp_path)
    for is_terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda is_terminal=is_terminal: is_terminal)
        with pytest.raises(SystemExit):
            cli.main(["run", "script.py", "--record", "run.npz"])
        noted = "nothing is recorded. To record: tf1-mtl run --record FILE.npz script.py\n"
        assert (noted in capsys.readouterr().err) == is_terminal
    assert ran == [("script.py", ["--record", "run.npz"])] * 2


@needs_matplotlib
def test_plot(capsys, tmp_path):
    losses(capsys, "alternate", "--seed", 3, "--plot", tmp_path / "losses.svg")
    assert (tmp_path / "losses.svg").read_text().startswith("<?xml")
    assert "losses.bmp" in refused(capsys, "joint", "--plot", tmp_path / "losses.bmp")


def test_logdir(capsys, tmp_path):
    args = ("alternate", "--seed", 3, "--steps", 6)
    assert losses(capsys, *args, "--logdir", tmp_path / "log") == losses(capsys, *args)
    assert len(glob.glob(str(tmp_path / "log" / "alternate-seed3" / "events*"))) == 1


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize("stepping", ["prepared", "in-graph"])
def test_stepping_gives_the_same_bits(capsys, stepping):
    for regime in ("alternate", "joint"):
        args = (regime, "--seed", 3, "--steps", 30)
        assert losses(capsys, *args, "--stepping", stepping) == losses(capsys, *args)


@pytest.mark.slow
@pytest.mark.runtime
def test_a_checkpointed_run_goes_on_where_it_stopped(capsys, tmp_path):
    whole = losses(capsys, "alternate", "--seed", 3, "--steps", 30)
    args = ("alternate", "--checkpoint", tmp_path / "run", "--save-every", 7, "--seed", 3)
    first = losses(capsys, *args, "--steps", 12)
    second = losses(capsys, *args, "--steps", 30)
    np.testing.assert_array_equal(first + second, whole)
    assert "seed" in refused(capsys, *args[:-1], 4, "--steps", 40)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--record", "{}/r.npz", "--stepping", "prepared"), "--record: watches each session.run"),
        (("--logdir", "{}/log", "--stepping", "in-graph"), "--logdir: watches each session.run"),
        (("--record", "{}/r.npz", "--checkpoint", "{}/run"), "--record: keeps a whole run"),
        (("--record", "{}/none/r.npz"), "r.npz"),
        (("--record", "{}/file", "--data", "{}/file"), "file is the file of --data. Give another"),
        (("--checkpoint", "{}/file"), "file"),
        (("--logdir", "{}/file"), "file"),
    ],
)
def test_what_cannot_be(capsys, tmp_path, args, message):
    (tmp_path / "file").write_text("not a folder")
    args = [arg.format(tmp_path) for arg in args]
    assert message in refused(capsys, "joint", "--quiet", *args, folder=tmp_path)
