"""The commands as a user types them: what they print, exit with, and answer without TensorFlow."""

import os
import re
import signal
import subprocess
import sys

import forked
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import done, refused, result, run
from sampling import slow_everywhere

from tf1_mtl import cli, feeds
from tf1_mtl.commands import options

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENVIRONMENT = dict(os.environ, PYTHONPATH=ROOT)


def python(*args):
    command = [sys.executable, *args]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


def shell(rest):
    """Runs a line that begins with this Python."""
    command = f"{sys.executable} {rest}"
    return subprocess.run(command, shell=True, capture_output=True, text=True, env=ENVIRONMENT)


def test_alternate_prints_as_the_article_does(capsys):
    status, out, err = run(capsys, "alternate", "--seed", 7, "--device", "cpu")
    assert status == 0
    *lines, last = out.split("\n")
    assert (len(lines), last) == (10, "")
    for line in lines:
        assert line == str(np.float32(line))
    device = "/job:localhost/replica:0/task:0/device:CPU:0"
    assert err == f"seed 7, {device}, TensorFlow {tf.__version__}\n"


@pytest.mark.slow
@pytest.mark.runtime
def test_the_step_mode_chooses_the_variables(capsys):
    args = (capsys, "joint", "--seed", 7, "--steps", 3)
    session, prepared = result(*args), result(*args, "--stepping", "prepared")
    kept = result(*args, "--stepping", "prepared", "--variables", "ref")
    found = [each["variables"] for each in (session, prepared, kept)]
    assert found == ["ref", "resource", "ref"]
    assert session["losses"] == prepared["losses"] == kept["losses"]


@pytest.mark.parametrize(
    ("regime", "variables"),
    [
        ("alternate", "ref"),
        slow_everywhere("alternate", "resource"),
        slow_everywhere("joint", "ref"),
        ("joint", "resource"),
    ],
)
def test_json(capsys, regime, variables):
    args = (regime, "--seed", 7, "--steps", 5, "--variables", variables)
    found = result(capsys, *args)
    names = ("regime", "seed", "steps", "tasks", "losses", "device", "tensorflow", "variables")
    assert tuple(found) == names
    assert (found["regime"], found["seed"], found["steps"]) == (regime, 7, 5)
    assert (found["tensorflow"], found["variables"]) == (tf.__version__, variables)
    assert found["device"].endswith(":0")
    assert set(found["tasks"]) <= ({"joint"} if regime == "joint" else {"Y1", "Y2"})
    printed = [np.float32(line) for line in run(capsys, *args)[1].split()]
    assert [np.float32(loss) for loss in found["losses"]] == printed
    assert all(loss == float(np.float32(loss)) for loss in found["losses"])


def test_without_a_seed_the_run_is_random_and_can_be_had_again(capsys):
    _, first, err = run(capsys, "joint", "--steps", 2)
    _, second, _ = run(capsys, "joint", "--steps", 2)
    assert first != second
    seed = err.split()[1].rstrip(",")
    assert run(capsys, "joint", "--steps", 2, "--seed", seed)[1] == first


def test_quiet_leaves_stderr_empty(capsys):
    assert run(capsys, "joint", "--quiet", "--seed", 1)[2] == ""


def test_learning_rate_and_batch(capsys):
    two_steps = ("joint", "--seed", 1, "--steps", 2)
    faster = done(capsys, *two_steps, "--learning-rate", 0.01).split()
    default = done(capsys, *two_steps).split()
    assert faster[0] == default[0]  # the first loss is that before any update
    assert faster[1] != default[1]
    one_row = run(capsys, "joint", "--seed", 1, "--batch", 1)[1]
    assert 0 < float(one_row) < float(default[0])


@pytest.fixture
def data(tmp_path):
    rng = np.random.RandomState(0)
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    np.savez(str(one), X=rng.rand(12, 3), Y1=rng.rand(12, 2), Y2=rng.rand(12, 4))
    np.savez(str(two), X1=rng.rand(9, 3), Y1=rng.rand(9, 2), X2=rng.rand(5, 3), Y2=rng.rand(5, 4))
    return one, two


def test_a_users_data(capsys, data):
    one, two = data
    for args in (
        ("joint", "--data", one, "--steps", 60),
        ("joint", "--data", one, "--steps", 60, "--batch", 4),
        ("alternate", "--data", one, "--steps", 60),
        ("alternate", "--data", two, "--steps", 60, "--batch", 5),
    ):
        found = result(capsys, *args, "--seed", 1, "--learning-rate", 0.01)
        for task in set(found["tasks"]):
            losses = [loss for loss, t in zip(found["losses"], found["tasks"]) if t == task]
            assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_all_rows_are_one_batch_unless_a_batch_is_asked_for(capsys, data):
    one, _ = data
    # With all rows fed each step the first loss depends only on the weights of the seed.
    rng = np.random.RandomState(3)
    W, V1, V2 = rng.rand(3, 20), rng.rand(20, 2), rng.rand(20, 4)
    arrays = np.load(str(one))
    hidden = np.maximum(arrays["X"] @ W, 0)
    by_hand = sum(
        np.square(arrays[label] - np.maximum(hidden @ V, 0)).sum() / 2
        for label, V in (("Y1", V1), ("Y2", V2))
    )
    out = run(capsys, "joint", "--data", one, "--seed", 3)[1]
    np.testing.assert_allclose(float(out), by_hand, rtol=1e-5)


BAD = [
    (("alternate", "--seed", "-1"), "'-1', but should be a whole number from 0 to 4294967295"),
    (("alternate", "--seed", "4294967296"), "but should be a whole number from 0 to 4294967295"),
    (("alternate", "--seed", "x"), "'x', but should be a whole number from 0 to 4294967295"),
    (("joint", "--steps", "0"), "'0', but should be a whole number of at least 1"),
    (("joint", "--steps", "1.5"), "'1.5', but should be a whole number of at least 1"),
    (("joint", "--batch", "0"), "'0', but should be a whole number of at least 1"),
    (("joint", "--learning-rate", "0"), "'0', but should be a number above 0"),
    (("joint", "--learning-rate", "nan"), "'nan', but should be a number above 0"),
    (("joint", "--learning-rate", "inf"), "'inf', but should be a number above 0"),
    (("joint", "--learning-rate", "1e300"), "'1e300', but should be a number above 0, from"),
    (("joint", "--learning-rate", "1e-300"), "'1e-300', but should be a number above 0, from"),
    (("joint", "--batch", "9" * 26), "but should be a whole number of at least 1 and at most"),
    (("joint", "--variables", "eager"), "invalid choice: 'eager'"),
    (("joint", "--device", "/device:FOO:0"), "'/device:FOO:0' is not there; TensorFlow lists"),
    (("joint", "--device", "cup"), "'cup' is not there; TensorFlow lists"),
    (("joint", "--device", "cup"), "Did you mean cpu?"),
    (("joint", "--data", "none.npz"), "none.npz: no such file; should be an .npz file with X"),
    (("joint", "--data", "{two}"), "two sets of rows (X1, Y1 and X2, Y2), but joint training"),
    (
        ("joint", "--data", "{one}", "--batch", "13"),
        "13, but should be a whole number from 1 to 12, the rows",
    ),
    (
        ("alternate", "--data", "{two}", "--batch", "6"),
        "6, but should be a whole number from 1 to 5, the rows",
    ),
    (("reproduce", "--seeds", "0"), "'0', but should be a whole number of at least 1"),
    (("alternat",), "'alternat' is not a command. Did you mean alternate"),
    (("alternate", "--sed", "1"), "unrecognized arguments: --sed 1. Did you mean --seed"),
    (("joint", "--learning", "1"), "unrecognized arguments: --learning"),
    (("joint", "--learn", "3"), "unrecognized arguments: --learn"),
    ((), "train alternately: a coin picks the task of each step"),
    (("--verison",), "required: COMMAND"),
    (("run",), "required: SCRIPT.py"),
    (("draw", "x.svg"), "To write this file, use -o x.svg."),
    (("draw", "frist", "-o", "x.svg"), "'frist' is not a figure. Choose from first, shared"),
    (
        ("check", "--golden", "two-data-set"),
        "no such golden; should be the path of a recording, or",
    ),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=[" ".join(args) for args, _ in BAD])
def test_bad_input(capsys, data, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    one, two = data
    args = [arg.format(one=one, two=two) for arg in args]
    assert message in refused(capsys, *args, folder=tmp_path)


WITHOUT_TENSORFLOW = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise AssertionError("TensorFlow was imported")
sys.meta_path.insert(0, Forbidden())
import tf1_mtl, tf1_mtl.cli
for args in {args}:
    try:
        status = tf1_mtl.cli.main(args)
    except SystemExit as exit_:
        status = exit_.code
    print(status, file=sys.stderr)
"""


def test_help_and_wrong_arguments_answer_without_tensorflow(tmp_path):
    _, parsers = cli._parser()
    commands = list(parsers)
    args = [["--help"], ["--version"], *([name, "--help"] for name in commands)]
    wrong = [["nothing"], ["joint", "--steps", "0"], ["reproduce", "--seeds", "19"]]
    wrong.append(["joint", "--data", str(tmp_path / "no.npz")])
    ran = python("-c", WITHOUT_TENSORFLOW.format(args=args + wrong))
    assert ran.returncode == 0, ran.stderr
    statuses = [line for line in ran.stderr.splitlines() if line in ("0", "1", "2")]
    assert statuses == ["0"] * len(args) + ["2"] * len(wrong)
    for name in commands:
        assert f"\n    {name}" in ran.stdout


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_ends_with_130_and_keeps_what_was_printed():
    ran = forked.tf1_mtl("joint", "--steps", 10**8, "--seed", 1, interrupt_at=100)
    assert ran.returncode == 130
    losses = ran.stdout.split("\n")[:-1]
    assert len(losses) >= 100 and all(float(loss) > 0 for loss in losses)
    assert ran.stderr.splitlines()[-1] == "tf1-mtl: interrupted"
    assert f"stopped at step {len(losses)} of {10**8}. The weights are not saved" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("options", [(), ("--quiet",)])
def test_sigterm_says_at_which_step_and_that_nothing_is_saved(capsys, monkeypatch, options):
    joint = feeds.joint

    def joint_with_a_signal(draw, steps):
        for number, batch in enumerate(joint(draw, steps), 1):
            if number == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    monkeypatch.setattr(feeds, "joint", joint_with_a_signal)
    handler = signal.getsignal(signal.SIGTERM)
    status, out, err = run(capsys, "joint", "--seed", 1, "--steps", 9, *options)
    assert (status, len(out.splitlines())) == (143, 3)
    assert err.splitlines()[-1] == (
        "tf1-mtl: stopped at step 3 of 9. The weights are not saved, since --checkpoint DIR was "
        "not given."
    )
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error():
    ran = shell("-m tf1_mtl joint --steps 20000 --seed 1 | head -n 1")
    assert len(ran.stdout.split()) == 1
    assert "Error" not in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's redirections")
@pytest.mark.parametrize(
    ("redirection", "status", "message"),
    [
        (">&-", 0, "seed 1, "),
        ("2>&-", 0, ""),
        (">/dev/full", 2, "tf1-mtl: [Errno 28] No space left on device. Not all was written.\n"),
    ],
)
def test_output_that_has_no_place_to_go(redirection, status, message):
    ran = shell(f"-m tf1_mtl joint --seed 1 {redirection}")
    assert ran.returncode == status
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr and "Exception ignored" not in ran.stderr


def test_too_little_memory_is_told(capsys, monkeypatch):
    def draw(*args):
        raise MemoryError("Unable to allocate 7.28 TiB")

    monkeypatch.setattr(feeds, "article_draw", lambda *args: draw)
    told = "tf1-mtl: not enough memory (Unable to allocate 7.28 TiB). Take smaller sizes.\n"
    assert refused(capsys, "joint", "--quiet") == told


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_waits_for_the_step_at_hand():
    """Within a step it could crash TensorFlow."""
    ended = []

    def steps():
        for number in range(5):
            os.kill(os.getpid(), signal.SIGINT)
            ended.append(number)
            yield number

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        for _ in options.progress(steps(), 5, "steps", show=False):
            pass
    assert ended == [0]
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_after_the_last_step_counts_too():
    def steps():
        yield 0
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        list(options.progress(steps(), 1, "steps", show=False))


class Terminal:
    """Replaces stderr by a terminal."""

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_progress_is_shown_on_a_terminal_only(monkeypatch, capsys):
    assert list(options.progress(range(5), 5, "steps", show=True)) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(options.progress(range(200), 200, "steps", show=True)) == list(range(200))
    assert terminal.text.startswith("\r1/200 steps (0 %), ")
    lines = terminal.text.split("\r")[1:]
    assert len(lines) == 101
    assert re.fullmatch(r"200/200 steps \(100 %\), [\d,.]+ a second, 0:00:00 left *\n", lines[-1])
    assert list(options.progress(range(3), 3, "steps", show=False)) == [0, 1, 2]


def test_progress_tells_the_rate_and_the_time_left(monkeypatch):
    terminal, now = Terminal(), [0.0]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(options.time, "monotonic", lambda: now[0])

    def steps():
        for number in range(500, 510):
            now[0] += 0.5
            yield number

    # A run that was continued at step 500: 2 steps a second, each a tenth of a percent.
    for number in options.progress(steps(), 1000, "steps", True, int, lambda n: n == 504):
        if number == 504:
            assert terminal.text.endswith(" \r")  # the line was cleared
            terminal.write("printed\n")
    shown = [line.strip() for line in terminal.text.split("\r") if line.strip()]
    assert shown == [
        "501/1000 steps (50 %), 2.0 a second, 0:04:09 left",
        "503/1000 steps (50 %), 2.0 a second, 0:04:08 left",
        "printed",
        "505/1000 steps (50 %), 2.0 a second, 0:04:07 left",
        "507/1000 steps (50 %), 2.0 a second, 0:04:06 left",
        "509/1000 steps (50 %), 2.0 a second, 0:04:05 left",
        "510/1000 steps (51 %), 2.0 a second, 0:04:05 left",
    ]
    assert terminal.text.endswith("\n")


def test_what_a_terminal_obeys_is_escaped(capsys):
    told = refused(capsys, "joint", "--data", "red\x1b[31m\nname.npz")
    assert "\x1b" not in told and "red\\x1b[31m" in told


@pytest.mark.parametrize("name, text", [("x.txt", "x.txt'."), (None, "Not all was written.")])
def test_an_error_of_a_file_is_not_one_of_the_output(name, text, monkeypatch):
    program = (
        "import sys; from tf1_mtl import cli\n"
        "def fails(args):\n"
        f"    raise OSError(5, 'Input/output error', {name!r})\n"
        "cli.draw.run = fails\n"
        "sys.exit(cli.main(['draw', '-o', 'x.svg']))\n"
    )
    ran = python("-c", program)
    assert ran.returncode == 2
    assert ran.stderr.strip().endswith(text)
