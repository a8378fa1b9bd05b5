"""Runs one contender in a process: `python -m tests.benchmarks.worker NAME STEPS BATCH WIDTH`.

Width 0 takes the sizes of the article. The first answer has the first and the last loss of an
untimed round, and the memory held. Then it runs a round for each line on stdin, and answers
with the seconds of a step, the number of steps and the memory held. All answers are JSON.
"""

import importlib
import json
import os
import sys
import time
from typing import Any, TextIO

from tests.benchmarks import BASELINE, CONTENDERS
from tests.benchmarks.problem import article_problem, wide_problem

#: A round goes over the batches again until so many seconds have passed: a few milliseconds would
#: time how long the caches take to warm up after the contender before.
_SHORTEST_ROUND = 0.2


def main(name: str, steps: int, batch: int, width: int) -> None:
    """Builds the contender and runs a round for each line on stdin."""
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        contender = {**CONTENDERS, **BASELINE}[name]
        module = importlib.import_module(f"tests.benchmarks.{contender.module}")
        problem = wide_problem(steps, batch, width) if width else article_problem(steps, batch)
        run = getattr(module, contender.function)(problem)
        losses = run()
    except Exception as error:
        _answer(answers, {"missing": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    ready = {"first": float(losses[0]), "last": float(losses[-1])} if len(losses) else {}
    _answer(answers, {**ready, "megabytes": _megabytes("VmRSS")})
    for _ in sys.stdin:
        seconds, done = 0.0, 0
        while seconds < _SHORTEST_ROUND:
            start = time.perf_counter()
            run()
            seconds += time.perf_counter() - start
            done += steps
        memory = {"megabytes": _megabytes("VmRSS"), "peak": _megabytes("VmHWM")}
        _answer(answers, {"seconds": seconds / done, "steps": done, **memory})


def _answer(answers: TextIO, what: Any) -> None:
    print(json.dumps(what), file=answers, flush=True)


def _megabytes(field: str) -> float:
    """Returns the memory of this process from /proc, or 0 without /proc."""
    try:
        with open("/proc/self/status") as file:
            (line,) = [line for line in file if line.startswith(field)]
        return int(line.split()[1]) / 1024
    except OSError:
        return 0.0


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
