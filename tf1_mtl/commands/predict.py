"""`tf1-mtl predict`: what trained weights give for the rows of a user."""

import argparse
import json
import os
import sys
from typing import Any, Dict

import numpy as np

from tf1_mtl.commands import options
from tf1_mtl.data import load_rows
from tf1_mtl.errors import InputError, printable
from tf1_mtl.npz import LIMIT_MB, write_npz
from tf1_mtl.quiet import quiet
from tf1_mtl.weights import Weights, load_weights, make_weights


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "predict",
        help="what trained weights give for your rows, and the losses where there are labels",
        description="Prints the outputs of both tasks, Y1_layer and Y2_layer, a line for each row, "
        "and the losses (sum of squares / 2) where there are labels.",
    )
    parser.add_argument(
        "--weights",
        required=True,
        metavar="FILE.npz|DIR",
        help="what `tf1-mtl alternate|joint --save` wrote, or a directory of --checkpoint",
    )
    options.add_data(parser, "its arrays X or X1, X2; labels Y1, Y2 if there are", required=True)
    parser.add_argument(
        "-o", "--output", metavar="OUT.npz", help="write outputs and losses; print the losses only"
    )
    parser.add_argument(
        "--device", default="auto", metavar="D", help="auto, cpu, gpu or a TensorFlow device string"
    )
    options.add_flags(parser, "--json", "--quiet", "--verbose")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Predicts, and prints or writes what comes out."""
    limit = args.data_limit or LIMIT_MB
    if args.output is not None:
        options.check_output("-o", args.output, {"--data": args.data, "--weights": args.weights})
    rows = load_rows(args.data, limit)
    with quiet(args.verbose):
        weights = read_weights(args.weights, limit)
        from tf1_mtl.prediction import Model

        model = Model(weights, args.device)
    with model:
        found = model.predict(rows, args.data)
    infinite = [name for name, value in found.items() if not np.isfinite(value).all()]
    if infinite:
        raise InputError(
            f"{args.data}: {infinite[0]} is too large for float32 with these weights. Scale the "
            "data as that of the training."
        )
    if not args.quiet:
        print(printable(_origin(args.weights, weights)), file=sys.stderr)
    if args.output is not None:
        with options.reporting(args, args.output):
            write_npz(args.output, found)
    _print(args, weights, found)
    return 0


def read_weights(path: str, limit_mb: float) -> Weights:
    """Returns the weights of a file of --save, or of the newest checkpoint of a directory.

    Raises:
      InputError: They are not there, or not whole.
    """
    if not os.path.exists(path):
        raise InputError(
            f"{path}: no such file or directory; should be a file that --save wrote, or a "
            "directory of --checkpoint. Give one."
        )
    if not os.path.isdir(path):
        return load_weights(path, limit_mb)
    from tf1_mtl.scale.checkpoints import newest_intact

    found = newest_intact(path, options.warn)
    if found is None:
        raise InputError(
            f"{path}: a directory without checkpoints, but should be one of --checkpoint, or a "
            "file that --save wrote. Give one."
        )
    arrays = {name: found.tensors[name] for name in Weights._fields if name in found.tensors}
    seed = {name: found.run[name] for name in ("seed",) if name in found.run}
    return make_weights({**arrays, **seed, "step": found.step}, f"{found.prefix}: ")


def _origin(path: str, weights: Weights) -> str:
    """Returns a line on the weights that are used."""
    known = [
        f"{name} {value}"
        for name, value in (("step", weights.step), ("seed", weights.seed))
        if value is not None
    ]
    sizes = f"{weights.inputs} inputs, {weights.share_W.shape[1]} shared units, tasks of "
    return f"{path}: {', '.join([*known, sizes])}{weights.tasks[0]} and {weights.tasks[1]}"


def _print(args: argparse.Namespace, weights: Weights, found: Dict[str, Any]) -> None:
    shown = {
        name: value
        for name, value in found.items()
        if args.output is None or not name.endswith("_layer")
    }
    if args.json:
        numbers = {name: value.tolist() for name, value in shown.items()}
        print(json.dumps({"seed": weights.seed, "step": weights.step, **numbers}))
        return
    for name, value in shown.items():
        if value.ndim:
            print(name)
            for row in value:
                print(*row)
        else:
            print(name, value)
