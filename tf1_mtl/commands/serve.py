"""`tf1-mtl serve`: runs one server of a cluster."""

import argparse
import sys
import time
from typing import Any

from tf1_mtl.commands import options
from tf1_mtl.errors import InputError
from tf1_mtl.quiet import quiet
from tf1_mtl.scale.cluster_file import port_of, read_spec


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "serve",
        help="run one server of a cluster, for --cluster FILE.json on another machine",
        description="Runs one server of a cluster until it is stopped. `tf1-mtl alternate` and "
        "`joint` with the same --cluster FILE.json train on it.",
    )
    parser.add_argument(
        "--cluster",
        metavar="FILE.json",
        required=True,
        help='the addresses of all servers: {"ps": ["a:2222"], "worker": ["b:2222", "c:2222"]}',
    )
    parser.add_argument("--job", choices=("ps", "worker"), required=True, help="job of this server")
    parser.add_argument(
        "--task",
        type=options.task_number,
        required=True,
        metavar="N",
        help="number of this server in its job, from 0",
    )
    parser.add_argument(
        "--trust-network",
        action="store_true",
        help="serve although a network interface is up. A TensorFlow server listens on every "
        "interface and asks for no password: whoever reaches its port can run operations and read "
        "and write files as this user. Let a firewall or a VPN admit only the machines of the "
        "cluster",
    )
    options.add_flags(parser, "--quiet")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Serves until Ctrl-C or SIGTERM."""
    spec = read_spec(args.cluster)
    addresses = spec[args.job]
    if args.task >= len(addresses):
        raise InputError(
            f"--task: {args.task}, but {args.cluster} has {len(addresses)} of the job {args.job}. "
            f"Give a number from 0 to {len(addresses) - 1}."
        )
    from tf1_mtl.isolation import is_isolated

    if not args.trust_network and not is_isolated():
        raise InputError(
            "serve: a network interface is up, and whoever reaches this machine could read and "
            "write files through the server. Admit only the machines of the cluster (firewall, "
            "VPN), then give --trust-network; or serve where every interface but loopback is down."
        )
    with quiet():
        from tf1_mtl.scale.cluster import start_server

        server = start_server(spec, args.job, args.task)
    if not args.quiet:
        port = port_of(addresses[args.task])
        where = f"/job:{args.job}/task:{args.task}, port {port} of every interface"
        print(f"{where}; Ctrl-C ends it", file=sys.stderr)
    while server:
        time.sleep(3600)
    return 0
