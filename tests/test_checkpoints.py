"""Long runs: killed, damaged or stopped, they end bit for bit as if never interrupted."""

import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import forked
import long_runs
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import done, run
from long_runs import SEED, full_disk, long_run
from sampling import RUNTIME, one_in, slow, slow_everywhere

from tf1_mtl import InputError, build_graph, feeds
from tf1_mtl.data import load_data
from tf1_mtl.feeds import Batch
from tf1_mtl.scale.checkpoints import _steps, newest_intact


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """120 steps in one go, saved at every 10."""
    directory = tmp_path_factory.mktemp("uninterrupted") / "run"
    return long_run(directory, 120)


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """The directory of the same run after 60 steps."""
    directory = tmp_path_factory.mktemp("half") / "run"
    long_run(directory, 60)
    return directory


@pytest.fixture
def copy(half, tmp_path):
    """A copy of that directory."""
    return Path(shutil.copytree(str(half), str(tmp_path / "run")))


def assert_same_end(result, expected):
    for step, loss in result.losses.items():
        assert loss == expected.losses[step], step
    assert set(result.values) == set(expected.values)
    for name, value in expected.values.items():
        np.testing.assert_array_equal(result.values[name], value, err_msg=name)


@pytest.mark.parametrize(
    "stepping, variables",
    one_in(6, itertools.product(["session", "prepared", "in-graph"], ["ref", "resource"]), RUNTIME),
)
def test_goes_on_bit_for_bit(stepping, variables, uninterrupted, tmp_path):
    for steps in (7, 33, 120):
        part = long_run(tmp_path, steps, stepping=stepping, variables=variables)
        assert part.told == []
    assert sorted(part.losses) == list(range(33, 120))
    assert_same_end(part, uninterrupted)
    again = long_run(tmp_path, 120, stepping=stepping, variables=variables)
    assert again.losses == {}
    assert_same_end(again, uninterrupted)


def test_five_checkpoints_are_kept_also_across_processes(copy):
    long_run(copy, 80)
    kept = sorted(int(path.name[11:-6]) for path in copy.glob("*.index"))
    assert kept == [40, 50, 60, 70, 80]
    assert not list(copy.glob("*.meta"))


def test_a_saver_and_a_monitored_session_of_tensorflow_read_it(copy, uninterrupted):
    net = build_graph(np.random.RandomState(0))
    with net.graph.as_default():
        tf.train.create_global_step()
        with tf.train.MonitoredTrainingSession(
            checkpoint_dir=str(copy), save_checkpoint_steps=None, save_checkpoint_secs=None
        ) as session:
            step, weights = session.run([tf.train.get_global_step(), net.shared_layer_weights])
    assert step == 60
    reader = tf.train.load_checkpoint(str(copy / "model.ckpt-60"))
    np.testing.assert_array_equal(reader.get_tensor("share_W"), weights)
    assert json.loads(reader.get_tensor("run"))["seed"] == SEED
    assert len(reader.get_variable_to_shape_map()) == 23 + 3


# Damage -----------------------------------------------------------------------------------------


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


DAMAGES = {
    "truncate": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "flip": flip,
    "empty": lambda path: path.write_bytes(b""),
    "remove": Path.unlink,
    "fill_with_garbage": lambda path: path.write_bytes(os.urandom(5000)),
}
NEWEST = ["model.ckpt-60.data-00000-of-00001", "model.ckpt-60.index"]


def goes_on_from(step, directory, uninterrupted):
    """Goes on to the same end. Returns the only warning."""
    result = long_run(directory, 120)
    assert sorted(result.losses) == list(range(step, 120))
    assert_same_end(result, uninterrupted)
    (warning,) = result.told
    return warning


@pytest.mark.parametrize("name, damage", one_in(9, itertools.product(NEWEST, DAMAGES), RUNTIME))
def test_falls_back_from_a_damaged_checkpoint(name, damage, copy, uninterrupted):
    DAMAGES[damage](copy / name)
    warning = goes_on_from(50, copy, uninterrupted)
    assert "damaged: model.ckpt-60 (" in warning
    assert "Taking model.ckpt-50, 10 steps earlier." in warning


@pytest.mark.parametrize(
    "damage", [slow_everywhere("empty"), "remove", slow_everywhere("fill_with_garbage")]
)
def test_a_damaged_state_file_does_not_start_again(damage, copy, uninterrupted):
    DAMAGES[damage](copy / "checkpoint")
    assert "checkpoint: missing or damaged" in goes_on_from(60, copy, uninterrupted)


def test_none_intact_is_an_error_and_nothing_is_overwritten(copy):
    for path in copy.glob("model.ckpt*"):
        flip(path)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(InputError, match=r"no checkpoint in it is intact: model\.ckpt-60"):
        long_run(copy, 120)
    after = {path.name: path.read_bytes() for path in copy.iterdir()}
    after["tf1-mtl.lock"] = before["tf1-mtl.lock"]
    assert after == before
    for path in list(copy.glob("model.ckpt*")):
        path.unlink()
    with pytest.raises(InputError, match="a state file without any"):
        long_run(copy, 120)


@pytest.mark.parametrize(
    "how, message",
    [({"seed": 12}, "seed is 11 there and 12 here"), ({"shared": 21}, "sizes is .* there")],
)
def test_another_run_is_refused(how, message, copy):
    with pytest.raises(InputError, match=message):
        long_run(copy, 120, **how)


def test_another_program_s_checkpoint_is_refused(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        variable = tf.Variable(1.0)
        session.run(variable.initializer)
        tf.train.Saver().save(session, str(tmp_path / "model.ckpt"), 5)
    with pytest.raises(InputError, match="not one of a tf1-mtl run"):
        long_run(tmp_path, 10)


def test_left_over_parts_of_a_killed_save_go(copy):
    left = copy / "model.ckpt-70.index.tempstate123"
    left.write_bytes(b"half")
    long_run(copy, 60)
    assert not left.exists()


@pytest.mark.parametrize("name", ["run[1]", "run?", "run*", "a\\b", "ram://x", "file:///tmp/x"])
def test_names_that_are_patterns_or_addresses_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"takes for a pattern|is an address"):
        long_run(name, 10)
    assert os.listdir(".") == []


@pytest.mark.parametrize(
    "name", [slow_everywhere("with space"), slow("quote'\""), slow("line\nbreak"), slow("größe")]
)
def test_other_names_work(name, tmp_path):
    long_run(tmp_path / name, 10)
    assert sorted(long_run(tmp_path / name, 20).losses) == list(range(10, 20))


def test_a_checkpoint_under_the_name_of_another_step_is_damaged(copy, uninterrupted):
    for path in list(copy.glob("model.ckpt-50.*")):
        shutil.copy(str(path), str(path).replace("ckpt-50.", "ckpt-90."))
    result = long_run(copy, 120)
    assert "model.ckpt-90 (it holds step 50)" in result.told[0]
    assert_same_end(result, uninterrupted)


def test_files_of_the_user_are_not_touched(copy, tmp_path):
    mine = {copy / "lock": "mine", copy / "model.ckpt.tempstate": "mine", tmp_path / "target": "me"}
    lock = copy / "tf1-mtl.lock"
    for path, text in mine.items():
        path.write_text(text)
    long_run(copy, 70)
    lock.unlink()
    lock.symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match="cannot be written"):
        long_run(copy, 80)
    lock.unlink()
    lock.write_text("my list of locks")
    with pytest.raises(InputError, match="is not the lock of a tf1-mtl run"):
        long_run(copy, 80)
    assert lock.read_text() == "my list of locks"
    assert {path: path.read_text() for path in mine} == mine


@pytest.mark.parametrize("how", [slow_everywhere("renamed"), "removed"])
def test_a_directory_that_goes_during_the_run_is_told(how, copy, tmp_path):
    def go(step):
        if step.step == 65:
            copy.rename(tmp_path / "elsewhere") if how == "renamed" else shutil.rmtree(str(copy))

    with pytest.raises(InputError, match="was moved, renamed or removed during the run"):
        long_run(copy, 120, each=go)
    assert not copy.exists()


def test_a_checkpoint_that_another_machine_writes_is_told(copy, monkeypatch):
    """The server of a cluster writes it, perhaps to a disk of its own."""
    monkeypatch.setattr(tf.train.Saver, "save", lambda *given, **options: None)
    with pytest.raises(InputError, match="the checkpoint of step 70 is not here"):
        long_run(copy, 70)


@pytest.mark.slow
@pytest.mark.runtime
def test_the_command_says_where_it_stands(capsys, tmp_path):
    def told(*args):
        return run(capsys, *args)[2]

    directory = str(tmp_path / "run")
    command = ("joint", "--checkpoint", directory, "--save-every", "3", "--steps")
    assert "from step 0 of 6" in told(*command, 6)
    assert "holds step 6, and --steps 4 asks for no more" in told(*command, 4)
    data = str(tmp_path / "data.npz")
    shapes = {"X": (9, 10), "Y1": (9, 20), "Y2": (9, 20)}
    np.savez(data, **{name: np.ones(shape, np.float32) for name, shape in shapes.items()})
    differ = "the data differ: to continue it, "
    assert differ + "leave out --data" in told(*command, 9, "--data", data)
    stopped = forked.tf1_mtl(*command, 10**6, interrupt_at=3)
    assert stopped.returncode == 130
    saved = int(re.search(r"saved at step (\d+)", stopped.stderr).group(1))
    assert saved == max(_steps(directory)) > 6
    other = ("joint", "--checkpoint", str(tmp_path / "other"), "--steps", "3")
    done(capsys, *other, "--data", data)
    assert differ + "give --data FILE of the first run" in told(*other)


def test_the_second_signal_ends_the_process_at_once():
    program = (
        "import os, signal\n"
        "from tf1_mtl.stopping import gathered\n"
        "with gathered(signal.SIGINT) as received:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print(received, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('alive', flush=True)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert ran.returncode == -signal.SIGINT
    assert len(ran.stdout.splitlines()) == 1


# Two at once, no room, no right ------------------------------------------------------------------


def test_the_second_of_two_is_told(copy):
    def second(step):
        if step.step == 60:
            with pytest.raises(InputError, match=f"in use by process {os.getpid()}"):
                long_run(copy, 120)

    assert len(long_run(copy, 70, each=second).losses) == 10


def test_a_full_disk_is_told_and_older_checkpoints_stay(copy, uninterrupted):
    with contextlib.ExitStack() as disk:

        def fill(step):
            if step.step == 65:
                disk.enter_context(full_disk(2000))

        with pytest.raises(InputError, match=r"of step 70 \(File too large\)"):
            long_run(copy, 120, each=fill)
    assert not list(copy.glob("*.tempstate*"))
    result = long_run(copy, 120)
    assert sorted(result.losses) == list(range(60, 120))
    assert_same_end(result, uninterrupted)


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        long_run(tmp_path / "file" / "run", 10)


# Signals and bad numbers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stepping, number, raised",
    [
        slow("session", signal.SIGINT, KeyboardInterrupt),
        ("session", signal.SIGTERM, SystemExit),
        slow_everywhere("in-graph", signal.SIGINT, KeyboardInterrupt),
        slow("in-graph", signal.SIGTERM, SystemExit),
    ],
)
def test_a_signal_saves_and_ends(number, raised, stepping, uninterrupted, tmp_path):
    def send(step):
        if step.step == 25:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(raised) as ended:
        long_run(tmp_path, 120, save_every=50, stepping=stepping, each=send)
    assert raised is KeyboardInterrupt or ended.value.code == 143
    assert signal.getsignal(number) == before
    stopped_at = newest_intact(str(tmp_path), print).step
    assert stopped_at == {"session": 26, "in-graph": 50}[stepping]
    result = long_run(tmp_path, 120)
    assert sorted(result.losses) == list(range(stopped_at, 120))
    assert_same_end(result, uninterrupted)


@pytest.mark.slow
@pytest.mark.runtime
def test_runs_outside_the_main_thread(uninterrupted, tmp_path):
    thread = threading.Thread(target=long_run, args=(tmp_path, 30))
    thread.start()
    thread.join()
    assert_same_end(long_run(tmp_path, 120), uninterrupted)


def spoilt_at(spoilt, value):
    """Draws as the article, with one value of Y1 and Y2 replaced in one step."""

    def make(rng):
        draw, steps = feeds.article_draw(rng), itertools.count()

        def spoil(task):
            task, X, Y1, Y2 = draw(task)
            if next(steps) == spoilt:
                Y1[3, 4] = Y2[3, 4] = value
            return Batch(task, X, Y1, Y2)

        return spoil

    return make


@pytest.mark.parametrize("stepping", ["session", *map(slow_everywhere, ("prepared", "in-graph"))])
def test_an_infinite_loss_is_not_saved(stepping, uninterrupted, tmp_path):
    with pytest.raises(InputError, match=r"step 35: the loss of task 'Y[12]' is inf"):
        long_run(tmp_path, 120, stepping=stepping, make_draw=spoilt_at(35, 1e30))
    assert newest_intact(str(tmp_path), print).step == 30
    fed = load_data(str(tmp_path / "step-35-feed.npz"))
    assert fed.Y1[3, 4] == np.float32(1e30) and fed.X1.shape == (10, 10)
    assert_same_end(long_run(tmp_path, 120), uninterrupted)


def test_a_ruined_weight_is_not_saved(tmp_path):
    """At step 39 the loss is still finite, but its square in the v of Adam is not."""
    with pytest.raises(InputError, match=r"step 39: its update made .*infinite"):
        long_run(tmp_path, 120, make_draw=spoilt_at(39, 1e18))
    assert newest_intact(str(tmp_path), print).step == 30


# Kills ------------------------------------------------------------------------------------------


def logged(log):
    """Returns the losses by step, of all processes that wrote a log. Its last line may be cut."""
    lines = [line.split() for line in log.read_text().splitlines(True) if line.endswith("\n")]
    return [(int(step), np.float32(loss)) for step, loss in lines]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [50])
def test_kill_9_at_any_moment(kills, tmp_path, capsys):
    """Kills processes (kill -9) at random moments of one run. The last one is not killed."""
    seed = int(os.environ.get("TF1_MTL_KILL_SEED", random.SystemRandom().randrange(10**6)))
    with capsys.disabled():
        print(f"\nkills of seed {seed} (TF1_MTL_KILL_SEED repeats them) ", end="")
    dice = random.Random(seed)
    directory, log = tmp_path / "run", tmp_path / "losses"
    log.write_text("")
    server = subprocess.Popen(
        [sys.executable, long_runs.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        universal_newlines=True,
    )

    def start(steps, stepping):
        print(directory, log, steps, stepping, file=server.stdin, flush=True)
        return int(server.stdout.readline())

    with server:
        for _ in range(kills):
            before = log.stat().st_size
            process = start(10**6, dice.choice(["session", "prepared", "in-graph"]))
            if dice.random() < 0.1:  # while it starts and restores
                time.sleep(dice.uniform(0, 0.5))
            else:  # while it trains and saves
                while log.stat().st_size == before:
                    time.sleep(0.005)
                time.sleep(dice.uniform(0, 0.5))
            os.kill(process, signal.SIGKILL)
            assert int(server.stdout.readline()) == signal.SIGKILL
        steps = max(step for step, _ in logged(log)) + 10
        start(steps, "session")
        assert int(server.stdout.readline()) == 0
        server.stdin.close()

    expected = long_run(tmp_path / "expected", steps)
    for step, loss in logged(log):
        assert loss == expected.losses[step], step
    assert set(expected.losses) == {step for step, _ in logged(log)}
    with np.load(f"{log}.values.npz") as values:
        assert set(values.files) == set(expected.values)
        for name, value in expected.values.items():
            np.testing.assert_array_equal(values[name], value, err_msg=name)
    with capsys.disabled():
        repeated = len(logged(log)) - steps
        print(f"{kills} killed, {steps} steps, {repeated} of them repeated ", end="")
