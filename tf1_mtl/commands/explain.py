"""`tf1-mtl explain`: what one run of the graph of the article needs, reads, writes and runs."""

import argparse
import json
from typing import Any

from tf1_mtl.commands import options
from tf1_mtl.quiet import quiet


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "explain",
        help="what one session.run needs, reads, writes and runs",
        description="Explains session.run of these fetches on the graph of the article. What it "
        "needs is planned from the graph, measured in a real run, and compared. The exit status is "
        "1 if that run fails, for example because --without leaves out what it needs.",
    )
    parser.add_argument(
        "fetches",
        nargs="+",
        metavar="NAME",
        help="a name in the article (Y1_op, Y1_Loss, ...) or in the graph (Adam_1, ...)",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help="a placeholder that is not fed (may be repeated)",
    )
    options.add_json(parser)
    options.add_variables(parser)
    options.add_verbose(parser)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Explains one run."""
    with quiet(args.verbose):
        import numpy as np

        from tf1_mtl import InputError, build_graph
        from tf1_mtl.teaching import explain

        net = build_graph(np.random.RandomState(0), variables=args.variables)
        placeholders = ("X", "Y1", "Y2")
        for name in args.without:
            if name not in placeholders:
                raise InputError(
                    f"--without: {name!r}, but should be a placeholder: {', '.join(placeholders)}."
                )
        feeds = [name for name in placeholders if name not in args.without]
        explanation = explain(args.fetches, feeds=feeds, graph=net)
    print(json.dumps(explanation.as_json()) if args.json else explanation)
    return 0 if explanation.error is None else 1
