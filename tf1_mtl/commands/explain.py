"""`tf1-mtl explain`: what one run of a graph needs, reads, writes and runs."""

import argparse
import json
import sys
from typing import Any

from tf1_mtl.commands import cluster, options, source
from tf1_mtl.errors import InputError
from tf1_mtl.feeds import ROWS
from tf1_mtl.quiet import quiet


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "explain",
        help="what one session.run needs, reads, writes and runs",
        description="Explains session.run of these fetches on the graph of the article. What it "
        "needs is planned from the graph, measured in a real run, and compared. Of a script or a "
        "recording it is planned only. The exit status is 1 if the run fails, for example because "
        "--without leaves out what it needs.",
    )
    parser.add_argument(
        "fetches",
        nargs="*",
        metavar="NAME",
        help="a name in the article (Y1_op, Y1_Loss, ...) or in the graph (Adam_1, L2Loss:0, ...), "
        "or a global variable of the script. Without a name, the main ones are listed",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help="a placeholder that is not fed (may be repeated)",
    )
    cluster.add_options(
        parser,
        "make the run over three processes, and list what each of them runs and what they send",
    )
    source.add_options(parser)
    options.add_flags(parser, "--json")
    options.add_variables(parser)
    options.add_flags(parser, "--verbose")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Explains one run."""
    cluster.check_fetches(args, args.fetches)
    if args.cluster and source.is_given(args):
        raise InputError(
            "--cluster: places the graph of the article alone. Leave out --script and --golden."
        )
    cluster.check(args)
    if args.cluster:
        return _explain_cluster(args)
    if source.is_given(args):
        return _plan(args)
    with quiet(args.verbose):
        import numpy as np

        from tf1_mtl import build_graph
        from tf1_mtl.teaching import explain
        from tf1_mtl.teaching.planning import Names

        net = build_graph(np.random.RandomState(0), variables=args.variables)
        if not args.fetches:
            return _print_names(Names(net), args.json, sys.stdout)
        feeds = Names(net).placeholders(args.without)
        explanation = explain(args.fetches, feeds=feeds, graph=net)
    return _print(explanation, args.json, sys.stdout)


def _explain_cluster(args: argparse.Namespace) -> int:
    """Explains one run over several processes: what each of them runs, and what they send."""
    with quiet(args.verbose):
        import numpy as np

        from tf1_mtl import build_graph
        from tf1_mtl.teaching.planning import Names, plan
        from tf1_mtl.teaching.traffic import measure

        batch = None if args.replicas else ROWS
        net = build_graph(np.random.RandomState(0), batch, variables=args.variables)
        names = Names(net)
        elements, feeds = names.find_all(args.fetches), names.placeholders(args.without)
        planned = plan(names, elements, feeds)
        needed = [name for name in planned.must_feed if name not in planned.feeds]
        if needed:
            raise InputError(f"--without: {', '.join(needed)} must be fed. Leave it out.")
        net, session = cluster.open_session(args, net)
        names = Names(net)  # with replicas, other nodes make the joint step
        with session:
            session.run(net.init)
            traffic = measure(names, names.find_all(args.fetches), feeds, session)
    print(json.dumps(traffic.as_json()) if args.json else traffic)
    return 0


def _plan(args: argparse.Namespace) -> int:
    """Explains a run of a script or of a recording from the graph alone, or lists its names."""
    if args.variables != "ref":
        raise InputError("--variables: is for the graph of the article. Leave it out.")
    out = sys.stdout if args.script is None else source.own_stdout()
    names = source.names_of(args, args.fetches)
    if args.fetches:
        status = _print(_planned(args, names), args.json, out)
    else:
        status = _print_names(names, args.json, out)
    if args.script is not None:
        out.flush()
        sys.exit(status)  # not a return: the script may have closed sys.stdout
    return status


def _planned(args: argparse.Namespace, names: Any) -> Any:
    """Returns the explanation of one run, planned from the graph alone."""
    from tf1_mtl.teaching.planning import plan

    fed = names.placeholders(args.without)
    explanation = plan(names, names.find_all(args.fetches), fed)
    needed = [name for name in explanation.must_feed if name not in explanation.feeds]
    if needed:
        explanation = explanation._replace(error=f"{', '.join(needed)} must be fed, but is not.")
    return explanation


def _print_names(names: Any, as_json: bool, out: Any) -> int:
    """Prints the names that a run can fetch, one a line."""
    found = names.main()
    print(json.dumps({"names": found}) if as_json else "\n".join(found), file=out)
    return 0


def _print(explanation: Any, as_json: bool, out: Any) -> int:
    print(json.dumps(explanation.as_json()) if as_json else explanation, file=out)
    return 0 if explanation.error is None else 1
