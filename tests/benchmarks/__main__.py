"""`python -m tests.benchmarks`: the cost of a step, of the step modes and of other frameworks."""

import argparse
import itertools
import json
import os
import platform
import sys
from typing import Any, Dict, List, Optional, Sequence

from tests.benchmarks import BASELINE, CONTENDERS, GOALS, OURS, PEERS, report, rounds
from tf1_mtl.commands import options
from tf1_mtl.errors import InputError, require

_WIDTHS = (10, 128, 512, 2048)
_BATCHES = (10, 2048)
_PARTS = ("steps", "widths", "memory", "start", "commands")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Times joint steps on the graph of the article. The contenders take turns, "
        "round by round, each in a process of its own, on the same weights and batches.",
    )
    parser.add_argument(
        "--steps", type=options.count, default=1000, metavar="K", help="batches (%(default)s)"
    )
    parser.add_argument(
        "--rounds", type=options.count, default=20, metavar="R", help="timed (%(default)s)"
    )
    parser.add_argument(
        "--peers",
        default="all",
        metavar="NAMES",
        help=f"comma-separated, of {', '.join(PEERS)}; or all (default), or none",
    )
    parser.add_argument(
        "--parts",
        default="steps",
        metavar="NAMES",
        help=f"comma-separated, of {', '.join(_PARTS)}; or all; default: %(default)s",
    )
    options.add_plot(parser, "times")
    options.add_flags(parser, "--json", "--quiet")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Measure and print."""
    args = _parser().parse_args(argv)
    try:
        return run(args)
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """Measure the parts that were chosen."""
    peers = _chosen("--peers", args.peers, PEERS)
    parts = _chosen("--parts", args.parts, _PARTS)
    if not parts:
        raise InputError(f"--parts: none, but should be of {', '.join(_PARTS)}. Name one, or all.")
    if args.plot and "steps" not in parts:
        raise InputError("--plot: draws the part 'steps', which --parts leaves out. Name it there.")
    if args.plot:
        require("matplotlib", "plot")
        from tf1_mtl.teaching import style

        style.check_path(args.plot)
    result: Dict[str, Any] = {"machine": _machine()}
    tables: List[str] = []
    for part in _PARTS:
        if part in parts:
            result[part], table = _MEASURES[part](args, peers)
            tables.append(table)
    if args.plot:
        report.plot(result, args.plot)
    print(json.dumps(result) if args.json else "\n\n".join(tables))
    return 0


def _steps(args: argparse.Namespace, peers: List[str]) -> Any:
    timings = rounds.measure([*OURS, *peers], args.steps, args.rounds, progress=_progress(args))
    return report.steps(timings, CONTENDERS, GOALS)


def _widths(args: argparse.Namespace, peers: List[str]) -> Any:
    names, number, progress = [*OURS, *BASELINE], min(args.rounds, 5), _progress(args)
    measured = []
    for width, batch in itertools.product(_WIDTHS, _BATCHES):
        flops = 16 * batch * width**2  # eight products of 2 * batch * width * width
        steps = max(1, min(args.steps, int(2e9 / flops)))
        timings = rounds.measure(names, steps, number, batch, width, progress)
        measured.append((width, batch, flops, timings))
    return report.widths(measured)


def _memory(args: argparse.Namespace, peers: List[str]) -> Any:
    return report.memory(rounds.measure(list(OURS), 10_000, 10, progress=_progress(args)))


def _start(args: argparse.Namespace, peers: List[str]) -> Any:
    return report.start(rounds.start_up(min(args.rounds, 7)))


def _commands(args: argparse.Namespace, peers: List[str]) -> Any:
    return report.commands(rounds.commands(min(args.rounds, 7), _progress(args)))


_MEASURES = dict(zip(_PARTS, (_steps, _widths, _memory, _start, _commands)))


def _chosen(option: str, text: str, known: Any) -> List[str]:
    if text in ("all", "none"):
        return list(known) if text == "all" else []
    names = text.split(",")
    for name in names:
        if name not in known:
            raise InputError(
                f"{option}: {name!r}, but should be of {', '.join(known)}. Separate them by commas."
            )
    return names


def _machine() -> Dict[str, Any]:
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def _progress(args: argparse.Namespace) -> Any:
    show = not args.quiet and sys.stderr.isatty()
    return lambda done: show and print(f"\r{done:40}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
