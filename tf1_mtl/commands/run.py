"""`tf1-mtl run SCRIPT`: runs an unmodified TensorFlow 1 script or notebook on this TensorFlow."""

import argparse
import sys
import threading
from typing import Any, Sequence

from tf1_mtl.commands import options, recorded
from tf1_mtl.quiet import quiet


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "run",
        help="run an unmodified TensorFlow 1 graph-mode script or notebook",
        usage="tf1-mtl run [--seed N] [--record FILE.npz [--record-limit MB]] [--verbose] "
        "SCRIPT.py [ARGS ...]",
        description="Runs a TensorFlow 1 script as it is: `import tensorflow as tf` gives it the "
        "v1 API. As with `python`, what follows SCRIPT.py belongs to the script, and the exit "
        "status is that of the script. Of a notebook (SCRIPT.ipynb), the code cells are run.",
    )
    options.add_seed(
        parser, "seeds the global stream of NumPy and the default graph before the script starts"
    )
    recorded.add_options(parser)
    options.add_flags(parser, "--verbose")
    parser.add_argument("script", nargs=argparse.PARSER, metavar="SCRIPT.py")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Runs the script and ends the process as the script does."""
    script, *script_args = args.script[1:] if args.script[0] == "--" else args.script

    # Elsewhere the script has stderr for itself, as under `python`.
    if args.record is None and sys.stderr.isatty():
        _note_misplaced(script, script_args)

    from tf1_mtl import legacy_script

    legacy_script.check(script)
    legacy_script.use_keras_2()
    with quiet(args.verbose):
        legacy_script.prepare(args.seed)
    if not args.verbose:
        legacy_script.show_warnings()
    with recorded.recorded(args, seed=args.seed, script=script):
        try:
            legacy_script.run(script, script_args)
        finally:
            if args.record is not None:
                _wait_for_threads()
    # Not a return: the script may have closed stdout, which only the exit of Python allows.
    sys.exit()


def _note_misplaced(script: str, script_args: Sequence[str]) -> None:
    """Prints a note if the script is given an option that may be meant for this command."""
    for argument in script_args:
        if argument.split("=")[0] in ("--record", "--record-limit"):
            print(
                f"note: {argument} comes after {script}, so it is an argument of the script, and "
                f"nothing is recorded. To record: tf1-mtl run --record FILE.npz {script}",
                file=sys.stderr,
            )
            break


def _wait_for_threads() -> None:
    """Waits for the threads that outlive the script, as Python does when it ends."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
