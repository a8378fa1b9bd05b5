"""Options of the commands that run the graph over the processes of a cluster."""

import argparse
from typing import Any, Sequence, Tuple

from tf1_mtl.commands import options
from tf1_mtl.errors import InputError
from tf1_mtl.feeds import ROWS
from tf1_mtl.scale.cluster_file import read_spec

_LOCAL = "local"


def add_options(parser: argparse.ArgumentParser, what: str, replicas: str = "") -> None:
    """Adds --cluster and --replicas.

    Args:
      parser: Of the command.
      what: Says what the command does on a cluster.
      replicas: Says when --replicas may be given.
    """
    parser.add_argument(
        "--cluster",
        metavar="local|FILE.json",
        help=f"{what}: the shared layer in one, each task in one of its own. local starts them on "
        "this machine; a file names servers of `tf1-mtl serve`",
    )
    add_replicas(parser, replicas)


def add_replicas(parser: argparse.ArgumentParser, when: str = "") -> None:
    """Adds --replicas; `when` says when it may be given."""
    options.add_count(
        parser,
        "--replicas",
        f"with --cluster{when}: split the rows of each joint step over N workers. The step is "
        "the same up to rounding",
    )


def check(args: argparse.Namespace) -> None:
    """Rejects a cluster that cannot be used, and reads FILE.json.

    With local servers, moves this process to where nothing outside can reach them.

    Raises:
      InputError: There are replicas without a cluster, one replica, or more replicas than the file
        has workers; or the file has no addresses.
    """
    check_replicas(args)
    if not args.cluster:
        return
    if args.cluster == _LOCAL:
        from tf1_mtl.isolation import is_isolated, run_isolated

        if not is_isolated():
            run_isolated(args.argv)
        return
    args.servers = read_spec(args.cluster)
    there = len(args.servers["worker"])
    if args.replicas and args.replicas > there:
        raise InputError(
            f"--replicas: {args.replicas}, but {args.cluster} has {there} of the job worker. "
            f"Give at most {there}, or add servers."
        )


def check_replicas(args: argparse.Namespace) -> None:
    """Raises InputError if there are replicas without a cluster, or only one."""
    if args.replicas and not args.cluster:
        raise InputError("--replicas: these are workers of a cluster. Give --cluster too.")
    if args.replicas and args.replicas < 2:
        raise InputError("--replicas: is 1, but should be at least 2. Leave it out.")


def check_fetches(args: argparse.Namespace, fetches: Sequence[str]) -> None:
    """Raises InputError if a run over --replicas makes no joint step of the article."""
    if args.replicas and not {"Optimiser", "Joint_Loss"} & set(fetches):
        raise InputError("--replicas: makes joint steps. Name Optimiser or Joint_Loss.")
    check_rows(args, ROWS)


def check_rows(args: argparse.Namespace, rows: int) -> None:
    """Raises InputError if a step has too few rows for --replicas."""
    if args.replicas and rows < args.replicas:
        raise InputError(
            f"--replicas: {args.replicas}, but a step has only {rows} rows. Give fewer "
            "replicas, or more rows."
        )


def open_session(args: argparse.Namespace, net: Any) -> Tuple[Any, Any]:
    """Opens a session on the cluster.

    Args:
      args: With --cluster, after `check`.
      net: The graph of the article, built with `batch=None` for --replicas.

    Returns:
      The graph to run, which is `net` or the same with replicas, and the session.
    """
    from tf1_mtl.scale import cluster
    from tf1_mtl.scale.replicas import replicate

    cluster.place(net.graph)
    if args.replicas:
        net = replicate(net, args.replicas)
    if args.cluster == _LOCAL:
        return net, cluster.open_local_session(net.graph, args.replicas or 2)
    return net, cluster.open_session_on(net.graph, args.servers)
