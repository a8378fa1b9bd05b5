"""`tf1-mtl run SCRIPT.py`: an unmodified TensorFlow 1 script on the TensorFlow that is here."""

import argparse
from typing import Any

from tf1_mtl.commands import options
from tf1_mtl.quiet import quiet


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "run",
        help="run an unmodified TensorFlow 1 graph-mode script",
        usage="tf1-mtl run [--seed N] [--record FILE.npz] [--verbose] SCRIPT.py [ARGS ...]",
        description="Runs a TensorFlow 1 script as it is: `import tensorflow as tf` gives it the "
        "v1 API. The exit status is the script's own. The options may also stand after the "
        "script's name; what follows a -- is the script's in any case.",
    )
    _add_options(parser)
    parser.add_argument("script", metavar="SCRIPT.py")
    rest = parser.add_argument("args", nargs=argparse.REMAINDER, metavar="ARGS")
    rest.required = False  # argparse would name it among what is missing
    parser.set_defaults(command=run)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed",
        type=options.seed,
        default=argparse.SUPPRESS,
        metavar="N",
        help="seeds NumPy's global stream and the default graph before the script starts",
    )
    parser.add_argument(
        "--record",
        default=argparse.SUPPRESS,
        metavar="FILE.npz",
        help="record what every Session.run of the script was fed, gave and left in the variables",
    )
    parser.add_argument(
        "--verbose",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show all that TensorFlow prints",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the script; ends with its exit status."""
    # Our options behind the script's name, up to a "--": argparse left them in the remainder.
    ours = argparse.ArgumentParser(prog="tf1-mtl run", add_help=False, allow_abbrev=False)
    _add_options(ours)
    cut = args.args.index("--") if "--" in args.args else len(args.args)
    args, script_args = ours.parse_known_args(args.args[:cut], args)
    script_args += args.args[cut + 1 :]

    from tf1_mtl import legacy_script

    seed, record = getattr(args, "seed", None), getattr(args, "record", None)
    verbose = getattr(args, "verbose", False)
    legacy_script.check(args.script)
    with quiet(verbose):
        legacy_script.prepare(seed)
    if not verbose:
        legacy_script.show_warnings()
    if record is None:
        return legacy_script.run(args.script, script_args)

    from tf1_mtl.baseline import recording

    with recording(record, seed=seed, script=args.script):
        return legacy_script.run(args.script, script_args)
