"""Options that several commands take, and the types of their values."""

import argparse
import contextlib
import datetime
import os
import random
import signal
import sys
import time
from typing import Callable, Iterable, Iterator, Mapping, Optional, Tuple, TypeVar

from tf1_mtl.data import LARGEST_RATE, SMALLEST_RATE, Data, load_data, warnings_about
from tf1_mtl.errors import InputError, printable
from tf1_mtl.files import check_new_folder, check_place
from tf1_mtl.npz import LIMIT_MB
from tf1_mtl.stopping import end_if, gathered

T = TypeVar("T")

LARGEST_SEED = 2**32 - 1

_FLAGS = {
    "--json": "print one JSON object on stdout",
    "--quiet": "print only errors on stderr",
    "--verbose": "show all that TensorFlow prints",
}


def count(text: str) -> int:
    """Returns a whole number of at least 1."""
    return _whole(text, 1)


def task_number(text: str) -> int:
    """Returns the number of a server in its job."""
    return _whole(text, 0)


def seed(text: str) -> int:
    """Returns a seed that `numpy.random.RandomState` takes."""
    return _whole(text, 0, LARGEST_SEED)


def rate(text: str) -> float:
    """Returns a learning rate: a number above 0 that float32 holds."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not SMALLEST_RATE <= value <= LARGEST_RATE:
        raise argparse.ArgumentTypeError(
            f"{text!r}, but should be a number above 0, from {SMALLEST_RATE:.3g} to "
            f"{LARGEST_RATE:.3g}"
        )
    return value


def _whole(text: str, low: int, high: Optional[int] = None) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low or (high is not None and value > high):
        should = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"{text!r}, but should be a whole number {should}")
    return value


def fresh_seed() -> int:
    """Returns a random seed, for a run without --seed."""
    return random.SystemRandom().randint(0, LARGEST_SEED)


def add_count(
    parser: argparse.ArgumentParser,
    name: str,
    help: str,
    default: Optional[int] = None,
    metavar: str = "N",
) -> None:
    """Adds an option with a whole number of at least 1. `help` may show "%(default)s"."""
    parser.add_argument(name, type=count, default=default, metavar=metavar, help=help)


def add_seed(parser: argparse.ArgumentParser, help: str, default: Optional[int] = None) -> None:
    """Adds --seed."""
    parser.add_argument("--seed", type=seed, default=default, metavar="N", help=help)


def add_language(parser: argparse.ArgumentParser) -> None:
    """Adds --lang."""
    parser.add_argument(
        "--lang", choices=("en", "zh"), default="en", help="language: English (default) or Chinese"
    )


def add_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """Adds options without a value: some of --json, --quiet and --verbose."""
    for name in names:
        parser.add_argument(name, action="store_true", help=_FLAGS[name])


def add_plot(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds --plot.

    Args:
      what: What the picture shows.
    """
    parser.add_argument(
        "--plot", metavar="FILE", help=f"draw the {what} into this .png or .svg file"
    )


def add_data(parser: argparse.ArgumentParser, help: str, required: bool = False) -> None:
    """Adds --data and --data-limit."""
    parser.add_argument("--data", metavar="FILE.npz", required=required, help=help)
    limit = f"megabytes that the arrays of --data may take (default: {LIMIT_MB})"
    add_count(parser, "--data-limit", limit, metavar="MB")


def read_data(args: argparse.Namespace) -> Optional[Data]:
    """Returns the data of --data, or None without it. Warns about data that cannot be learned.

    Raises:
      InputError: The file does not hold such data, or --data-limit is given without --data.
    """
    if args.data is None:
        if args.data_limit is not None and not getattr(args, "validation", None):
            raise InputError("--data-limit: needs --data, but it is missing. Add it.")
        return None
    data = load_data(args.data, args.data_limit or LIMIT_MB)
    for sentence in warnings_about(data):
        warn(f"{args.data}: {sentence}")
    return data


def check_output(option: str, path: str, inputs: Mapping[str, Optional[str]]) -> None:
    """Rejects a file to write that cannot be written, or that is read by the same command.

    Args:
      option: Names the file.
      path: The file.
      inputs: The files that are read, by option.

    Raises:
      InputError: As described.
    """
    check_place(path)
    for other, read in inputs.items():
        if read is not None and os.path.realpath(read) == os.path.realpath(path):
            raise InputError(f"{option}: {path} is the file of {other}. Give another name.")


def check_export(args: argparse.Namespace) -> None:
    """Rejects a folder of --export that is there, or into which another option writes.

    Raises:
      InputError: As described.
    """
    free = f"such as {args.export.rstrip(os.sep)}-{args.steps}" if args.checkpoint else ""
    check_new_folder(args.export, free)
    place = os.path.realpath(args.export)
    for option in ("save", "record", "plot", "logdir", "checkpoint"):
        other = getattr(args, option)
        if other is not None and f"{os.path.realpath(other)}{os.sep}".startswith(place + os.sep):
            raise InputError(
                f"--export: {args.export} is a new folder of its own, but --{option} writes into "
                "it. Choose another."
            )


@contextlib.contextmanager
def reporting(args: argparse.Namespace, path: Optional[str]) -> Iterator[None]:
    """Says on stderr that the `with` block wrote or replaced a file, unless --quiet is given.

    This includes a file that was written although the block ended with an error.

    Args:
      args: Parsed options.
      path: The file or the folder. None reports nothing.
    """
    if path is None:
        yield
        return
    place = os.path.abspath(path)  # a script may change the folder
    before = _version(place)
    try:
        yield
    finally:
        after = _version(place)
        if after not in (None, before) and not getattr(args, "quiet", False):
            what = "wrote" if before is None else "replaced"
            with contextlib.suppress(ValueError):  # a script may have closed stderr
                print(printable(f"{what} {path}"), file=sys.stderr)


def _version(path: str) -> Optional[Tuple[int, int]]:
    """Returns what changes when a file is written anew; None if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def warn(sentence: str) -> None:
    """Prints a warning on stderr."""
    print(printable(f"tf1-mtl: warning: {sentence}"), file=sys.stderr)


def add_variables(parser: argparse.ArgumentParser, default: Optional[str] = "ref") -> None:
    """Adds --variables. A default of None leaves the choice to the command."""
    parser.add_argument(
        "--variables",
        choices=("ref", "resource"),
        default=default,
        help="kind of the variables: ref of TensorFlow 1, or resource of TensorFlow 2; default: "
        + (default or "resource with --stepping prepared, else ref"),
    )


def add_session_options(parser: argparse.ArgumentParser, variables: Optional[str] = "ref") -> None:
    """Adds --device, --variables and --verbose."""
    parser.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="auto (the first GPU, or the CPU without one), cpu, gpu or a TensorFlow device string",
    )
    add_variables(parser, variables)
    add_flags(parser, "--verbose")


def progress(
    items: Iterable[T],
    total: int,
    what: str,
    show: bool,
    number: Optional[Callable[[T], int]] = None,
    is_printed: Callable[[T], bool] = lambda item: False,
) -> Iterator[T]:
    """Yields the items, and shows on a terminal how many are done, how fast, and the time left.

    Ctrl-C and SIGTERM end it after the current item.

    Args:
      items: The items.
      total: The number of items when all are done.
      what: The name of the items, in the plural.
      show: False shows nothing.
      number: Returns the number of an item, from 0. None counts the items.
      is_printed: Returns True for an item that the caller prints on the same terminal. The line is
        cleared before.

    Raises:
      KeyboardInterrupt: After Ctrl-C.
      SystemExit: After SIGTERM. The status is 143.
    """
    line = _Line(total, what) if show and sys.stderr.isatty() else None
    with gathered(signal.SIGINT, signal.SIGTERM) as received:
        try:
            for index, item in enumerate(items):
                if line is not None and is_printed(item):
                    line.clear()
                yield item
                end_if(received)
                if line is not None:
                    line.update(index + 1, 1 + (index if number is None else number(item)))
        finally:
            if line is not None:
                line.end()
        end_if(received)  # after the last item, while the source was ending


class _Line:
    """One line on stderr that is written again when the percentage changes or a second is over."""

    def __init__(self, total: int, what: str) -> None:
        self._total, self._what = total, what
        self._text = ""
        self._percent = -1
        self._start = self._shown = time.monotonic()

    def update(self, here: int, done: int) -> None:
        """Shows the number of items that this process did, and of those done in all."""
        now, percent = time.monotonic(), 100 * done // self._total
        if self._text and percent == self._percent and now < self._shown + 1:
            return
        rate = here / max(now - self._start, 1e-9)
        left = datetime.timedelta(seconds=int((self._total - done) / rate))
        text = f"{done}/{self._total} {self._what} ({percent} %), "
        text += f"{rate:,.{0 if rate >= 10 else 1}f} a second, {left} left"
        self._write(text)
        self._percent, self._shown = percent, now

    def clear(self) -> None:
        """Removes the line."""
        if self._text:
            self._write("")
            print("\r", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leaves the line as it is; what follows goes below it."""
        if self._text:
            print(file=sys.stderr, flush=True)

    def _write(self, text: str) -> None:
        print(f"\r{text.ljust(len(self._text))}", end="", file=sys.stderr, flush=True)
        self._text = text
