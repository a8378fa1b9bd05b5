"""The options --script and --golden: what `explain` and `draw` read in place of the article."""

import argparse
import os
import re
import shlex
import sys
from typing import Any, Dict, List, Sequence, TextIO

from tf1_mtl.errors import InputError
from tf1_mtl.quiet import quiet

#: The type and the name of a node that has the name that TensorFlow gives by itself.
_UNNAMED = re.compile(
    r"(\w+?)(V\d)? (.*/)?\1(_\d+)?"
    r"|NoOp (.*/)?(Ada\w+|Momentum|GradientDescent|RMSProp|Ftrl)(_\d+)?",
    re.IGNORECASE,
)
#: What the article calls the operation that trains each task.
_STEPS = {"Y1": "Y1_op", "Y2": "Y2_op", "joint": "Optimiser"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds --script, --script-args and --golden."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--script",
        metavar="SCRIPT.py",
        help="the graph of a TensorFlow 1 script: it runs as with `tf1-mtl run`, up to its first "
        "run that trains; what it prints goes to stderr",
    )
    source.add_argument(
        "--golden", metavar="FILE.npz", help="the graph of a recording, without TensorFlow"
    )
    parser.add_argument("--script-args", metavar='"ARGS"', help="what the script is given")


def is_given(args: argparse.Namespace) -> bool:
    """Returns True if another graph than that of the article is asked for.

    Raises:
      InputError: --script-args stands without --script.
    """
    if args.script_args is not None and args.script is None:
        raise InputError("--script-args: needs --script, but it is missing. Add it.")
    return args.script is not None or args.golden is not None


def names_of(args: argparse.Namespace, fetches: Sequence[str]) -> Any:
    """Returns the `Names` of the graph that --script or --golden asks for.

    Of several graphs it is the first one that has all fetches.

    Raises:
      InputError: The script or the recording is not there, broken, or has no such graph.
    """
    return _of_golden(args.golden, fetches) if args.script is None else _of_script(args, fetches)


def own_stdout() -> TextIO:
    """Returns a stream on stdout, and leads what the process prints from now on to stderr."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding)
    os.dup2(2, 1)
    return own


def _of_script(args: argparse.Namespace, fetches: Sequence[str]) -> Any:
    from tf1_mtl import legacy_script

    legacy_script.check(args.script)
    legacy_script.use_keras_2()
    with quiet(args.verbose):
        legacy_script.prepare()
        from tf1_mtl.legacy_script.stopped import graph_of_script
    legacy_script.show_warnings()

    from tf1_mtl.teaching.planning import Names

    def missing(graph: Any) -> str:
        return _missing(Names(graph, _variables_of_script(graph)), fetches)

    graph = graph_of_script(args.script, _split(args.script_args or ""), missing)
    names = Names(graph, _variables_of_script(graph))
    for node in list(names.article):
        # A loop leaves its last node in a variable. So a name that the script gave is kept.
        if not _UNNAMED.fullmatch(f"{graph.get_operation_by_name(node).type} {node}"):
            del names.article[node]
    return names


def _split(arguments: str) -> List[str]:
    try:
        return shlex.split(arguments)
    except ValueError as error:
        raise InputError(
            f"--script-args: {arguments!r} ({error}), but should be as in a shell. Close the quote."
        ) from error


def _variables_of_script(graph: Any) -> Dict[str, Any]:
    """Returns the elements of a graph that the script holds in global variables, by their names.

    The name of a node goes before that of a variable.
    """
    nodes = {op.name for op in graph.get_operations()}
    found = {}
    for name, value in vars(sys.modules["__main__"]).items():
        if getattr(value, "graph", None) is graph and hasattr(value, "name") and name not in nodes:
            found[name] = value
    return found


def _of_golden(golden: str, fetches: Sequence[str]) -> Any:
    from tf1_mtl.baseline.recognition import find_article
    from tf1_mtl.baseline.recorded_cases import graphs_of
    from tf1_mtl.graph_reader import ReadableGraph, structure
    from tf1_mtl.teaching.planning import Names

    lacks = []
    for recorded in graphs_of(golden):
        graph = ReadableGraph(recorded)
        article = find_article(recorded)
        found = dict(article.names) if article else {}
        tasks = {updates: task for task, updates in article.updates.items()} if article else {}
        for optimizer in structure(graph).optimizers:
            task = tasks.get(frozenset(op.name for op in optimizer.updates))
            if task is not None:
                found[_STEPS[task]] = optimizer.name
        ops = {name: graph.get_operation_by_name(node) for name, node in found.items()}
        fields = {name: op.outputs[0] if op.outputs else op for name, op in ops.items()}
        names = Names(graph, fields)
        lacks.append(_missing(names, fetches))
        if not lacks[-1]:
            return names
    raise InputError(f"{golden}: {lacks[0]}")


def _missing(names: Any, fetches: Sequence[str]) -> str:
    """Returns what a graph lacks of the fetches, or ""."""
    try:
        for fetch in fetches:
            names.find(fetch)
    except InputError as error:
        return str(error)
    return ""
