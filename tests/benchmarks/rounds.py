"""Runs contenders in processes of their own, round by round in turn, and gathers the times."""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from tests.benchmarks import BASELINE, CONTENDERS, OURS


class Timing(NamedTuple):
    """The rounds of one contender."""

    seconds: np.ndarray  #: float64 [rounds], of a step
    steps: int  #: in all timed rounds
    first: Optional[float]  #: the loss of the first step
    last: Optional[float]  #: the loss of the last step of the first round
    grown: float  #: megabytes, over the timed rounds
    peak: float  #: megabytes


class Missing(NamedTuple):
    """A contender that cannot run here."""

    why: str


def measure(
    names: Sequence[str],
    steps: int,
    rounds: int,
    batch: int = 10,
    width: int = 0,
    progress: Callable[[str], None] = lambda done: None,
) -> Dict[str, Any]:
    """Time the contenders. In each round each of them runs once, alone, in a random order.

    Args:
      names: Of `CONTENDERS` and `BASELINE`.
      steps: Batches; a round goes over them at least once.
      rounds: Timed; one before them is not, since it compiles.
      batch: Rows.
      width: Of all layers; 0 takes the sizes of the article.
      progress: Called with what has been done.

    Returns:
      By name, a `Timing` or a `Missing`.
    """
    order = np.random.RandomState(0)  # who comes after whom leaves warm caches and busy threads
    results: Dict[str, Any] = {}
    answers: Dict[str, List[Dict[str, Any]]] = {}
    with contextlib.ExitStack() as stack:
        workers = {}
        for name in names:
            why = _why_not(name)
            if why is None:
                worker = stack.enter_context(_worker(name, steps, batch, width))
                ready = _heard(worker)
                why = ready.get("missing")
            if why is not None:
                results[name] = Missing(why)
                continue
            progress(f"{name} started")
            workers[name], answers[name] = worker, [ready]
        for number in range(rounds):
            for name in order.permutation(sorted(workers)):
                answer = _answer(workers[name])
                if "missing" in answer:
                    results[name] = Missing(answer["missing"])
                    del workers[name], answers[name]
                else:
                    answers[name].append(answer)
            progress(f"round {number + 1} of {rounds}")
    for name, (ready, *timed) in answers.items():
        results[name] = Timing(
            np.array([answer["seconds"] for answer in timed]),
            sum(answer["steps"] for answer in timed),
            ready.get("first"),
            ready.get("last"),
            timed[-1]["megabytes"] - ready["megabytes"],
            timed[-1]["peak"],
        )
    return {name: results[name] for name in names}


def ratio(one: Timing, other: Timing) -> float:
    """Returns the time of one for each second of the other: the median over the rounds."""
    return ratio_quartiles(one, other)[1]


def ratio_quartiles(one: Timing, other: Timing) -> List[float]:
    """Returns the lower quartile, the median and the upper quartile of the ratio of each round."""
    return [float(value) for value in np.percentile(one.seconds / other.seconds, [25, 50, 75])]


def start_up(rounds: int) -> Dict[str, np.ndarray]:
    """Returns the seconds from the shell to the first loss, and of a bare `import tensorflow`."""
    commands = {
        "first loss": ["-m", "tf1_mtl", "joint", "--seed", "1", "--quiet"],
        "import tensorflow": ["-c", "import tensorflow"],
    }
    seconds: Dict[str, List[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            seconds[name].append(_whole(arguments))
    return {name: np.array(values) for name, values in seconds.items()}


#: The arguments of `tf1-mtl` that print the last loss only.
JOINT = ["joint", "--seed", "1", "--quiet", "--every", "1000000"]

BY_HAND, A_SEED = "NumPy by hand", "reproduce, a seed"

#: Commands by name: what precedes a number of steps or seeds, and the two numbers.
COMMANDS = {
    **{
        f"joint --stepping {stepping}": (
            ["-m", "tf1_mtl", *JOINT, "--stepping", stepping, "--steps"],
            (2_000, 22_000) if stepping == "session" else (20_000, 120_000),
        )
        for stepping in OURS
    },
    BY_HAND: (["-m", "tests.benchmarks.by_hand"], (20_000, 120_000)),
    A_SEED: (
        ["-m", "tf1_mtl", "reproduce", "--seed", "1", "--quiet", "--seeds"],
        (400, 1_400),
    ),
}


def commands(rounds: int, progress: Callable[[str], None]) -> Dict[str, np.ndarray]:
    """Returns the seconds of a step that a user sees, by the difference of two lengths of a run.

    What a process does once, such as importing TensorFlow, is in both and cancels. Drawing the
    batches is included.

    Returns:
      By the name of a command, float64 [rounds], or a `Missing`.
    """
    seconds: Dict[str, List[float]] = {name: [] for name in COMMANDS}
    results: Dict[str, Any] = {}
    for number in range(rounds):
        for name, (arguments, (short, long)) in COMMANDS.items():
            if name in results:
                continue
            try:
                took = _whole([*arguments, str(long)]) - _whole([*arguments, str(short)])
                seconds[name].append(took / (long - short))
            except subprocess.CalledProcessError as error:
                results[name] = Missing(f"ended with status {error.returncode}")
        progress(f"round {number + 1} of {rounds}")
    return {name: results.get(name, np.array(values)) for name, values in seconds.items()}


def _whole(arguments: List[str]) -> float:
    """Returns the seconds of a whole process."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def _why_not(name: str) -> Optional[str]:
    """Returns why a contender cannot be started, or None if it can."""
    package = {**CONTENDERS, **BASELINE}[name].package
    if package in sys.modules or not package.isidentifier():
        return None
    return None if importlib.util.find_spec(package) else f"{package} is not installed"


@contextlib.contextmanager
def _worker(name: str, *sizes: int) -> Iterator[Any]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.worker", name, *map(str, sizes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
        universal_newlines=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.communicate()  # the end of its input ends it


def _answer(worker: Any) -> Dict[str, Any]:
    """Runs one more round."""
    with contextlib.suppress(BrokenPipeError):  # it has died, as the next line reports
        print(file=worker.stdin, flush=True)
    return _heard(worker)


def _heard(worker: Any) -> Dict[str, Any]:
    line = worker.stdout.readline()
    if not line:
        return {"missing": f"its process ended with status {worker.wait()}"}
    answer: Dict[str, Any] = json.loads(line)
    return answer
