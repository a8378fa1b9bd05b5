"""The options --record and --record-limit."""

import argparse
import contextlib
import sys
from typing import Any, Iterator

from tf1_mtl.commands import options
from tf1_mtl.errors import InputError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds --record and --record-limit."""
    parser.add_argument(
        "--record",
        metavar="FILE.npz",
        help="record the graph, and what every Session.run was fed, returned and wrote",
    )
    options.add_count(
        parser,
        "--record-limit",
        "megabytes up to which FILE.npz keeps what a check needs (default: 256); of later runs it "
        "keeps only the fetched values",
        metavar="MB",
    )


@contextlib.contextmanager
def recorded(args: argparse.Namespace, **manifest: Any) -> Iterator[None]:
    """Records the sessions inside the `with` block where --record asks for it.

    Args:
      args: Parsed options, with those of `add_options`.
      **manifest: JSON values to keep with the recording.

    Raises:
      InputError: The file cannot be written, or --record-limit stands without --record.
    """
    if args.record is None:
        if args.record_limit is not None:
            raise InputError("--record-limit: needs --record, but it is missing. Add it.")
        yield
        return
    from tf1_mtl.baseline.recorder import LIMIT_MB, recording

    limit = args.record_limit or LIMIT_MB
    with options.reporting(args, args.record), recording(
        args.record, limit, **manifest
    ) as recorder:
        try:
            yield
        finally:
            runs = recorder.first_run_without_state
            if runs is not None:
                print(
                    f"tf1-mtl: {args.record}: {limit} MB are full after {runs} runs. These can be "
                    "checked. Of later runs only the fetched values are recorded. To keep more, "
                    "raise --record-limit.",
                    file=sys.stderr,
                )
            if not recorder.has_trained:
                print(
                    f"tf1-mtl: {args.record}: no recorded run trains, so no port can be checked "
                    "against it.",
                    file=sys.stderr,
                )
