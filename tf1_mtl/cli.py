"""The command line, `tf1-mtl` or `python -m tf1_mtl`.

Each command is a file in `tf1_mtl.commands`. Neither they nor this file import TensorFlow before
a command runs, so that `--help` and wrong arguments answer at once.

Exit status: 0 done; 1 a check or a verdict is negative; 2 bad input; 130 interrupted. `run` ends
with the exit status of the script.
"""

import argparse
import os
import sys
from typing import Any, Dict, Optional, Sequence, Tuple

from tf1_mtl import __version__
from tf1_mtl.commands import (
    check,
    compare,
    draw,
    explain,
    lesson,
    predict,
    reproduce,
    run,
    serve,
    train,
)
from tf1_mtl.errors import InputError, did_you_mean, printable

_COMMANDS = (reproduce, train, predict, check, explain, draw, lesson, compare, run, serve)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Runs one command.

    Args:
      argv: The arguments after the name of the program; None takes them from `sys.argv`.

    Returns:
      The exit status.
    """
    _open_closed_streams()
    given = list(sys.argv[1:] if argv is None else argv)
    args = _parsed(given)
    args.argv = given
    try:
        status: int = args.command(args)
        sys.stdout.flush()
        return status
    except InputError as error:
        print(_shown(f"tf1-mtl: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        if getattr(sys, "last_value", None) is interrupt:
            raise  # `run` has reported it; Python ends the process by SIGINT
        print("tf1-mtl: interrupted", file=sys.stderr)
        return 130
    except MemoryError as error:
        print(f"tf1-mtl: not enough memory ({error}). Take smaller sizes.", file=sys.stderr)
        return 2
    except OSError as error:
        # The reader of the output has ended (`| head`), or its disk is full. Python would report
        # this a second time when it ends.
        if not sys.stdout.closed:  # by a script
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 141
        # An error that names a file is not about the output.
        what = f"{error}." if error.filename else f"{error}. Not all was written."
        print(_shown(f"tf1-mtl: {what}"), file=sys.stderr)
        return 2


def _shown(message: str) -> str:
    """Returns a message without what a terminal would obey; names come from outside."""
    return "\n".join(map(printable, message.split("\n")))


def _open_closed_streams() -> None:
    """Lets a stdout or stderr that the shell closed (`>&-`) swallow what is written to it.

    Otherwise the next file to be opened would take its place, and get the messages of TensorFlow.
    """
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            setattr(sys, name, open(number, "w"))  # noqa: SIM115  as long as the process


class _Parser(argparse.ArgumentParser):
    """A parser that takes options by their whole names and suggests the nearest ones."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def nearest(self, words: Sequence[str]) -> str:
        """Returns a question that names the options nearest to the misspelt ones, or ""."""
        options = [name.partition("=")[0] for name in words if name.startswith("-")]
        return did_you_mean(options, self._option_string_actions)


def _parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Returns the parsed arguments; bad ones end the program with status 2."""
    parser, commands = _parser()
    if not argv:
        parser.print_help(sys.stderr)
        parser.exit(2)
    name = argv[0]
    if not name.startswith("-") and name not in commands:
        parser.error(
            f"{name!r} is not a command.{did_you_mean([name], commands)} "
            f"Choose from {', '.join(commands)}."
        )
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        command = commands[args.name]
        command.error(f"unrecognized arguments: {' '.join(unknown)}.{command.nearest(unknown)}")
    return args


def _parser() -> Tuple[_Parser, Dict[str, _Parser]]:
    """Returns the parser of the program and those of its commands, by name."""
    parser = _Parser(
        prog="tf1-mtl",
        description="The TensorFlow 1 article 'Multi-Task Learning in Tensorflow: Part 1': "
        "reproduce it, look into it, and check newer ports against it.",
    )
    parser.add_argument("--version", action="version", version=f"tf1-mtl {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="name", metavar="COMMAND")
    subparsers.required = True
    for command in _COMMANDS:
        command.add_to(subparsers)
    return parser, subparsers.choices
