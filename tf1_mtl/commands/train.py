"""`tf1-mtl alternate` and `tf1-mtl joint`: the two training sessions of the article."""

import argparse
import contextlib
import functools
import json
import os
import sys
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np

from tf1_mtl import feeds
from tf1_mtl.commands import cluster, options, recorded, stepping
from tf1_mtl.data import Data, load_data, need_columns
from tf1_mtl.errors import InputError, printable
from tf1_mtl.files import make_folder
from tf1_mtl.npz import LIMIT_MB
from tf1_mtl.quiet import quiet
from tf1_mtl.weights import NAMES, Weights, save_weights

_DESCRIPTION = (
    "Prints the loss of each step before its update, the sum of squares / 2, one a line. "
    "Everything else goes to stderr."
)


def add_to(subparsers: Any) -> None:
    """Adds both commands."""
    alternate = subparsers.add_parser(
        "alternate",
        help="train alternately: a coin picks the task of each step",
        description=f"Trains one task or the other, by the flip of a coin. {_DESCRIPTION}",
    )
    joint = subparsers.add_parser(
        "joint",
        help="train jointly: both tasks in every step",
        description=f"Trains both tasks on the sum of their losses. {_DESCRIPTION}",
    )
    _add_options(alternate, steps=10, arrays="X, Y1, Y2 (same rows) or X1, Y1, X2, Y2")
    _add_options(joint, steps=1, arrays="X, Y1, Y2 (same rows)")


def _add_options(parser: argparse.ArgumentParser, steps: int, arrays: str) -> None:
    options.add_seed(parser, "seed of weights, coin and data (default: random)")
    options.add_count(parser, "--steps", "number of steps (default: %(default)s)", default=steps)
    options.add_count(
        parser, "--batch", "rows of a step (default: 10, or all of FILE)", metavar="B"
    )
    parser.add_argument(
        "--learning-rate",
        type=options.rate,
        default=0.001,
        metavar="R",
        help="learning rate of the Adam optimizers (default: %(default)s)",
    )
    options.add_count(
        parser,
        "--every",
        "print, and validate, after every N steps and the last; default: %(default)s",
        default=1,
    )
    parser.add_argument(
        "--validation",
        metavar="FILE.npz",
        help="print the losses on these arrays beside those of the training, which they never "
        "change",
    )
    options.add_data(parser, f"train on the arrays {arrays} of this file")
    recorded.add_options(parser)
    options.add_plot(parser, "losses")
    parser.add_argument(
        "--logdir",
        metavar="DIR",
        help="write graph, losses and traces for TensorBoard into a folder of this run in DIR",
    )
    stepping.add_options(parser)
    parser.add_argument(
        "--save", metavar="FILE.npz", help="write the trained weights, for `tf1-mtl predict`"
    )
    parser.add_argument(
        "--export", metavar="DIR", help="write a SavedModel of the trained model into a new folder"
    )
    options.add_session_options(parser, variables=None)
    options.add_flags(parser, "--json", "--quiet")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Runs one training session and prints its losses."""
    stepping.check(args)
    read = {"--data": args.data, "--validation": args.validation}
    if args.record is not None:
        options.check_output("--record", args.record, read)
    if args.save is not None:
        options.check_output("--save", args.save, {**read, "--record": args.record})
    if args.export is not None:
        options.check_export(args)
    seed = stepping.choose_seed(args)
    rng = np.random.RandomState(seed)
    sizes, draw = _sizes_and_draw(args, rng)
    validation = _validation(args, sizes)

    with quiet(args.verbose):
        import tensorflow.compat.v1 as tf

        from tf1_mtl import build_graph
        from tf1_mtl.prediction import weights_of

        if args.plot:
            from tf1_mtl.teaching import curves, style

            style.check_path(args.plot)
        net = build_graph(rng, variables=args.variables, learning_rate=args.learning_rate, **sizes)
        net, session = stepping.open_session(args, net)

    if not args.quiet:
        print(f"seed {seed}, {session.device}, TensorFlow {tf.__version__}", file=sys.stderr)
    if not args.quiet and _has_columns(args):
        columns = f", Y1_Loss and Y2_Loss of {args.validation}" if args.validation else ""
        print(printable(f"columns: step, loss{columns}"), file=sys.stderr)
    report = _Report(args)
    with session, stepping.store(args, net, session, seed) as store:
        with recorded.recorded(args, seed=seed, regime=args.name):
            session.run(net.init)
            with _validator(args, net, session, validation) as validate, stepping.reporting_stop(
                args, store, report
            ):
                for step in _progress(args, _steps(args, net, session, store, seed, rng, draw)):
                    report.add(step, validate)
        weights = weights_of(net, session)
        steps = args.steps if store is None else store.step
    _save(args, weights._replace(seed=seed, step=steps))
    if args.plot:
        with options.reporting(args, args.plot):
            curves.plot(report.steps, args.plot)
    if args.json:
        report.print_json(seed, session.device)
    return 0


def _is_printed(args: argparse.Namespace, step: Any) -> bool:
    done = step.step + 1
    return done % args.every == 0 or done == args.steps


def _has_columns(args: argparse.Namespace) -> bool:
    return not args.json and (args.every > 1 or args.validation is not None)


class _Report:
    """What is printed of a run, and the steps that --plot draws."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self.count = 0
        self._printed: List[Any] = []
        self._validated: Dict[str, List[float]] = {}
        self.steps: List[Any] = []

    def add(self, step: Any, validate: Callable[[], Dict[str, Any]]) -> None:
        """Prints a step, or keeps it for --json."""
        self.count += 1
        if self._args.plot:
            self.steps.append(step)
        if not _is_printed(self._args, step):
            return
        losses = validate()
        if self._args.json:
            self._printed.append(step)
            for name, loss in losses.items():
                self._validated.setdefault(name, []).append(float(loss))
        elif _has_columns(self._args):
            print(step.step + 1, step.loss, *losses.values())
        else:
            print(step.loss)

    def print_json(self, seed: int, device: str) -> None:
        """Prints the object of --json."""
        import tensorflow.compat.v1 as tf

        args = self._args
        result = {
            "regime": args.name,
            "seed": seed,
            "steps": args.steps,
            "tasks": [step.task for step in self._printed],
            "losses": [float(step.loss) for step in self._printed],
            "device": device,
            "tensorflow": tf.__version__,
            "variables": args.variables,
        }
        if args.checkpoint is not None:
            result["first_step"] = args.steps - self.count
        if args.every > 1 or args.validation is not None:
            result["done"] = [step.step + 1 for step in self._printed]
        if args.validation is not None:
            result["validation"] = self._validated
        print(json.dumps(result))


@contextlib.contextmanager
def _validator(
    args: argparse.Namespace, net: Any, session: Any, validation: Optional[Data]
) -> Iterator[Callable[[], Dict[str, Any]]]:
    """Yields a function that gives the losses of --validation with the weights of the moment."""
    if validation is None:
        yield dict
        return
    from tf1_mtl.prediction import Model, weights_of

    with quiet(args.verbose):  # with --cluster it is the first session of this process
        model = Model(weights_of(net, session), args.device)
    with model:

        def validate() -> Dict[str, Any]:
            model.take(weights_of(net, session))
            found = model.predict(validation)
            return {name: found[name] for name in ("Y1_Loss", "Y2_Loss")}

        yield validate


def _validation(args: argparse.Namespace, sizes: Dict[str, Any]) -> Optional[Data]:
    """Returns what --validation names; None without it."""
    if args.validation is None:
        return None
    if args.data is not None and os.path.realpath(args.data) == os.path.realpath(args.validation):
        raise InputError(
            f"--validation: {args.validation} is the file of --data, so its rows are trained on. "
            "Give a file with other rows."
        )
    data = load_data(args.validation, args.data_limit or LIMIT_MB)
    need_columns(data, sizes["inputs"], sizes["tasks"], args.validation, "the training data have")
    return data


def _sizes_and_draw(
    args: argparse.Namespace, rng: np.random.RandomState
) -> Tuple[Dict[str, Any], feeds.Draw]:
    """Returns the sizes of the graph, and what draws the batches."""
    data = options.read_data(args)
    if data is None:
        batch = args.batch or feeds.ROWS
        cluster.check_rows(args, batch)
        sizes = {"batch": None if args.replicas else batch, "inputs": 10, "tasks": (20, 20)}
        return sizes, feeds.article_draw(rng, batch)
    if args.name == "joint":
        data.need_one_set(args.data)
    cluster.check_rows(args, args.batch or len(data.X1))
    fed = None if args.replicas else args.batch
    sizes = {"batch": fed, "inputs": data.inputs, "tasks": data.tasks}
    return sizes, feeds.data_draw(data, rng, args.batch)


def _steps(
    args: argparse.Namespace,
    net: Any,
    session: Any,
    store: Any,
    seed: int,
    rng: np.random.RandomState,
    draw: feeds.Draw,
) -> Iterator[Any]:
    def batches(count: int) -> Iterator[feeds.Batch]:
        if args.name == "joint":
            return feeds.joint(draw, count)
        return feeds.alternate(draw, rng, count)

    def steps(session_or_recorder: Any) -> Iterator[Any]:
        return stepping.steps(args, net, session_or_recorder, store, rng, batches)

    if args.logdir is None:
        return steps(session)
    from tf1_mtl.teaching import tensorboard

    name = f"{args.name}-seed{seed}"
    if args.checkpoint is not None:
        name += f"-{os.path.basename(os.path.abspath(args.checkpoint))}"
    make_folder(args.logdir)
    folder = functools.partial(tensorboard.run_folder, args.logdir, name)
    return tensorboard.logged(net, session, steps, folder)


def _save(args: argparse.Namespace, weights: Weights) -> None:
    """Writes what --save and --export ask for."""
    if args.save is None and args.export is None:
        return
    if not all(np.isfinite(getattr(weights, name)).all() for name in NAMES):
        raise InputError(
            f"step {weights.step}: the weights are infinite or not a number, so they are not "
            "saved. Feed smaller numbers or take a smaller learning rate."
        )
    if args.save is not None:
        with options.reporting(args, args.save):
            save_weights(args.save, weights)
    if args.export is not None:
        with options.reporting(args, args.export), quiet(args.verbose):
            from tf1_mtl.prediction import Model

            with Model(weights, "cpu") as model:
                model.export(args.export)


def _progress(args: argparse.Namespace, steps: Iterator[Any]) -> Iterator[Any]:
    # Every loss that scrolls by on a terminal is progress enough.
    terminal = sys.stdout.isatty() and not args.json
    return options.progress(
        steps,
        args.steps,
        "steps",
        show=not args.quiet and (not terminal or args.every > 1),
        number=lambda step: step.step,
        is_printed=lambda step: terminal and _is_printed(args, step),
    )
