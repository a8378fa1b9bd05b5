"""`tf1-mtl draw`: draws a graph, of the article or another, and what one run executes."""

import argparse
import os
import sys
from typing import Any, Dict, Optional, Tuple

from tf1_mtl.commands import cluster, options, source
from tf1_mtl.errors import InputError, require
from tf1_mtl.feeds import ROWS
from tf1_mtl.quiet import quiet

#: The title of each figure, and the nodes that it ends at (None: the whole graph).
_FIGURES = {
    "first": ("The first graph", None),
    "shared": ("Two tasks on one shared layer", ("Y1_Loss", "Y2_Loss")),
    "alternate": ("Alternate training: an optimizer for each task", ("Y1_op", "Y2_op")),
    "joint": ("Joint training: one optimizer on the sum of the losses", ("Optimiser",)),
    "whole": ("The whole graph", None),
}


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "draw",
        help="draw a graph, and what one run executes",
        description="Draws a graph of the article, as TensorFlow really holds it, into a PNG or "
        "SVG file. With --fetch it makes a run, and highlights what the run executed. Of a script "
        "or a recording the run is planned only, and a large graph is folded.",
    )
    parser.add_argument(
        "figure",
        nargs="?",
        type=_figure,
        metavar="{" + ",".join(_FIGURES) + "}",
        help="the graph to draw: the first one, the shared layer, alternate or joint training, "
        "or the whole graph of the article (default: whole)",
    )
    parser.add_argument(
        "--fetch",
        action="append",
        metavar="NAME",
        help="highlight the run that fetches this: Y1_op, Joint_Loss, ... (may be repeated)",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="the .png or .svg file to write"
    )
    options.add_language(parser)
    parser.add_argument(
        "--cluster",
        choices=["local"],
        help="show which process of a cluster has what, and what is sent; no server is started",
    )
    cluster.add_replicas(parser, ", joint only")
    source.add_options(parser)
    options.add_flags(parser, "--verbose")
    parser.set_defaults(command=run)


def _figure(name: str) -> str:
    """Returns the name of a figure."""
    if name not in _FIGURES:
        hint = f" To write this file, use -o {name}." if "." in name else ""
        raise argparse.ArgumentTypeError(
            f"{name!r} is not a figure. Choose from {', '.join(_FIGURES)}.{hint}"
        )
    return name


def run(args: argparse.Namespace) -> int:
    """Draws one picture."""
    require("matplotlib", "plot")
    from tf1_mtl.teaching import style

    style.check_path(args.output)
    _check_cluster(args)
    with options.reporting(args, args.output):
        return _draw_other(args) if source.is_given(args) else _draw_article(args)


def _draw_article(args: argparse.Namespace) -> int:
    """Draws the graph of the article."""
    title, only = _FIGURES[args.figure or ("joint" if args.replicas else "whole")]
    with quiet(args.verbose):
        import numpy as np

        from tf1_mtl import build_graph
        from tf1_mtl.teaching import explain, figures, first_graph
        from tf1_mtl.teaching.replica_diagram import replica_diagram

        graph: Any = first_graph.build_first_graph()
        if args.figure != "first":
            graph = build_graph(np.random.RandomState(0), None if args.replicas else ROWS)
        processes = None
        if args.cluster:
            graph, processes = _placed(graph, args.replicas)
        explanation = None
        if args.fetch:
            explanation = explain(args.fetch, graph=graph)
            title = f"{title}\n{figures.run_title(explanation)}"
            if explanation.error is not None:
                raise InputError(f"--fetch: the run fails: {explanation.error}. Fetch another.")
        picture = replica_diagram(graph) if args.replicas else graph
        figures.draw(args.output, picture, only, explanation, title, args.lang, processes)
    return 0


def _check_cluster(args: argparse.Namespace) -> None:
    """Rejects what has no joint step, or no cluster."""
    if args.cluster and (source.is_given(args) or args.figure == "first"):
        raise InputError(
            "--cluster: places the graph of both tasks alone. Leave out first, --script and "
            "--golden."
        )
    cluster.check_replicas(args)
    if args.replicas and args.figure not in (None, "joint"):
        raise InputError(f"--replicas: makes joint steps, but not {args.figure}. Draw joint.")
    cluster.check_fetches(args, args.fetch or ["Optimiser"])


def _placed(net: Any, replicas: Optional[int]) -> Tuple[Any, Dict[str, str]]:
    """Places the graph as `--cluster local` does.

    Returns:
      The graph, which runs in this process all the same, and the process of each node.
    """
    from tf1_mtl.scale.cluster import PS, place
    from tf1_mtl.scale.replicas import replicate

    place(net.graph)
    if replicas:
        net = replicate(net, replicas)
    found = {}
    for node in net.graph.get_operations():
        # What is fed goes first to the process that the client talks to.
        job, task = PS if node.type == "Placeholder" else node.device.split("/")[1:3]
        found[node.name] = f"{job}/{task}".replace("job:", "").replace("task:", "")
        node._set_device("")
    return net, found


def _draw_other(args: argparse.Namespace) -> int:
    """Draws the graph of a script or of a recording."""
    if args.figure is not None:
        raise InputError(f"{args.figure}: is a figure of the article. Leave it out.")
    output = os.path.abspath(args.output)  # a script may change the folder
    if args.script is not None:
        source.own_stdout().close()
    names = source.names_of(args, args.fetch or ())
    from tf1_mtl.teaching import figures
    from tf1_mtl.teaching.planning import plan

    title, explanation = os.path.basename(args.script or args.golden), None
    if args.fetch:
        explanation = plan(names, names.find_all(args.fetch), names.placeholders())
        title = f"{title}\n{figures.run_title(explanation)}"
    figures.draw(output, names, None, explanation, title, args.lang)
    if args.script is not None:
        sys.exit()  # not a return: the script may have closed sys.stdout
    return 0
