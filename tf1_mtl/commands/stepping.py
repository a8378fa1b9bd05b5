"""Options of `tf1-mtl alternate` and `joint`: the step mode, and checkpoints to continue from."""

import argparse
import contextlib
import hashlib
import itertools
import sys
from typing import Any, Callable, ContextManager, Dict, Iterator, Tuple

import numpy as np

from tf1_mtl import feeds
from tf1_mtl.commands import cluster, options
from tf1_mtl.errors import InputError
from tf1_mtl.quiet import quiet
from tf1_mtl.scale import STEPPINGS, fastest_variables

_SAVE_EVERY = 1000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds --stepping, the options of a cluster, and those of checkpoints."""
    parser.add_argument(
        "--stepping",
        choices=STEPPINGS,
        default="session",
        help="session (default) is session.run as in the article. prepared and in-graph are faster "
        "and give the same bits. compiled is the fastest and rounds differently. prepared takes "
        "--variables resource unless you give another",
    )
    cluster.add_options(
        parser, "train over three processes, with the same bits", replicas=", joint only"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="DIR",
        help="save checkpoints there, and continue from them; --steps counts all runs together",
    )
    options.add_count(parser, "--save-every", f"steps between checkpoints (default: {_SAVE_EVERY})")


def check(args: argparse.Namespace) -> None:
    """Rejects options that cannot be combined, and chooses the kind of variables.

    Raises:
      InputError: --record or --logdir is given with another step mode, --record with checkpoints,
        or --save-every without checkpoints.
    """
    args.variables = args.variables or fastest_variables(args.stepping)
    if args.save_every and not args.checkpoint:
        raise InputError("--save-every: nothing is saved without --checkpoint DIR. Give it too.")
    if args.record and args.validation:
        raise InputError(
            "--record: records each session.run, so --validation would be recorded too. Leave out "
            "one or the other."
        )
    for option in ("record", "logdir"):
        if getattr(args, option) and args.stepping != "session":
            raise InputError(
                f"--{option}: watches each session.run, but --stepping {args.stepping} is not "
                "that. Leave out one or the other."
            )
    if args.record and args.checkpoint:
        raise InputError(
            "--record: keeps a whole run, but a run with --checkpoint may be a part of one. Leave "
            "out one or the other."
        )
    if args.replicas and args.name != "joint":
        raise InputError(f"--replicas: goes with joint, but not with {args.name}. Leave it out.")
    if args.cluster:
        _check_cluster(args)
    cluster.check(args)


def _check_cluster(args: argparse.Namespace) -> None:
    """Rejects options that do not go with --cluster."""
    if args.stepping != "session":
        raise InputError(f"--cluster: does not go with --stepping {args.stepping}. Leave one out.")
    if args.device != "auto":
        raise InputError("--cluster: places the graph itself. Leave out --device.")
    for option in ("record", "logdir"):
        if getattr(args, option):
            raise InputError(f"--cluster: does not go with --{option}. Leave one out.")


def open_session(args: argparse.Namespace, net: Any) -> Tuple[Any, Any]:
    """Opens the session that the options ask for: on this process, or on a cluster.

    Returns:
      The graph to train, which is `net` or the same with replicas, and the session.
    """
    if args.cluster:
        return cluster.open_session(args, net)
    from tf1_mtl import session
    from tf1_mtl.scale import session_config

    config = session_config(args.stepping, args.variables)
    return net, session.open_session(net, args.device, config)


def choose_seed(args: argparse.Namespace) -> int:
    """Returns the seed of --seed, or that of the run in the checkpoints, or a random one."""
    if args.seed is not None:
        return args.seed
    if args.checkpoint is not None:
        with quiet(args.verbose):
            from tf1_mtl.scale.checkpoints import newest_intact

            found = newest_intact(args.checkpoint, tell=lambda warning: None)
        if found is not None and "seed" in found.run:
            return int(found.run["seed"])
    return options.fresh_seed()


def store(args: argparse.Namespace, net: Any, session: Any, seed: int) -> ContextManager[Any]:
    """Opens the checkpoints of --checkpoint for a `with` block; gives None without it."""
    if args.checkpoint is None:
        return contextlib.nullcontext()
    from tf1_mtl.scale.checkpoints import Store

    return Store(args.checkpoint, net, session, _run(args, seed), options.warn)


def steps(
    args: argparse.Namespace,
    net: Any,
    session: Any,
    store: Any,
    rng: np.random.RandomState,
    batches: Callable[[int], Iterator[feeds.Batch]],
) -> Iterator[Any]:
    """Trains as the options ask, by `train` or `train_long`."""
    # The weights are validated after a step, so nothing may be trained ahead of it.
    every = args.every if args.validation else None
    if store is None:
        from tf1_mtl.training import Step, train

        drawn, stretch = batches(args.steps), every or args.steps
        for start in range(0, args.steps, stretch):
            these = itertools.islice(drawn, min(stretch, args.steps - start))
            for step in train(net, session, these, args.stepping):
                yield Step(start + step.step, step.task, step.loss)
        return
    from tf1_mtl.scale.long_run import train_long

    save_every = args.save_every or _SAVE_EVERY
    long = train_long(
        net, session, store, rng, batches, args.steps, save_every, args.stepping, every
    )
    first = next(long, None)
    if not args.quiet:
        if first is None:
            print(
                f"{args.checkpoint}: holds step {store.step}, and --steps {args.steps} asks "
                "for no more. Give a larger --steps to go on.",
                file=sys.stderr,
            )
        else:
            at = f"from step {first.step} of {args.steps}"
            print(f"{args.checkpoint}: {at}", file=sys.stderr)
    if first is not None:
        yield first
        yield from long


@contextlib.contextmanager
def reporting_stop(args: argparse.Namespace, store: Any, report: Any) -> Iterator[None]:
    """Says on stderr at which step a signal ended the training of the `with` block.

    Without checkpoints the steps are lost, so --quiet does not hide it.

    Args:
      args: Parsed options.
      store: The checkpoints, or None.
      report: Has the number of steps so far as `count`.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if store is None:
            print(
                f"tf1-mtl: stopped at step {report.count} of {args.steps}. The weights are not "
                "saved, since --checkpoint DIR was not given.",
                file=sys.stderr,
            )
        elif not args.quiet:
            print(f"{args.checkpoint}: saved at step {store.step}", file=sys.stderr)
        raise


def _run(args: argparse.Namespace, seed: int) -> Dict[str, Any]:
    """Returns what distinguishes this run from other runs."""
    data = None
    if args.data is not None:
        with open(args.data, "rb") as file:
            data = hashlib.sha256(file.read()).hexdigest()
    return {
        "regime": args.name,
        "seed": seed,
        "batch": args.batch,
        "learning_rate": args.learning_rate,
        "data": data,
    }
