"""`tf1-mtl compare`: compares training alone, alternately and jointly, on the same rows."""

import argparse
import itertools
import json
import os
from typing import Any

from tf1_mtl.commands import options
from tf1_mtl.errors import printable
from tf1_mtl.quiet import quiet


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "compare",
        help="compare training alone, alternately and jointly, on rows held out",
        description="Trains two tasks alone, alternately and jointly, from the same start, every "
        "task on equally many of its rows. Answers 'alternate or joint?'. Reports the loss on rows "
        "held out, with intervals over seeds, and what the figures support. Without --data, it "
        "uses the digits of scikit-learn.",
    )
    options.add_data(
        parser, "compare on the arrays X, Y1, Y2 (same rows) or X1, Y1, X2, Y2 of this file"
    )
    options.add_count(parser, "--steps", "steps of each task (default: %(default)s)", default=300)
    options.add_count(
        parser,
        "--seeds",
        "number of seeds (default: %(default)s, the fewest that give 95 %% intervals)",
        default=6,
        metavar="K",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="compare alternate and joint training at one start and learning rate only; the "
        "figures of the headline are the same, but whether it holds elsewhere is not tested",
    )
    options.add_flags(parser, "--json")
    options.add_plot(parser, "losses")
    options.add_flags(parser, "--verbose")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Runs the comparison, prints it and draws it."""
    data = options.read_data(args)
    with quiet(args.verbose):
        from tf1_mtl.teaching import comparison, comparison_report, style

        if args.plot is not None:
            style.check_path(args.plot)
        if data is None:
            settings = comparison.settings_of_digits()
        else:
            settings = comparison.settings_of(data, printable(os.path.basename(args.data)))
        if args.quick:
            settings = comparison.quick(settings)
        trainings = comparison.trainings(settings, args.steps, args.seeds)
        first = next(trainings)  # opens the first session
    total = args.seeds * sum(len(setting.regimes) for setting in settings)
    outcomes = options.progress(itertools.chain([first], trainings), total, "trainings", True)
    found = comparison_report.report(settings, list(outcomes), args.steps)
    print(json.dumps(found) if args.json else comparison_report.text(found))
    if args.plot is not None:
        with options.reporting(args, args.plot):
            comparison_report.plot(found, args.plot)
    return 0
