"""`tf1-mtl lesson`: writes the article as one page of HTML."""

import argparse
import pathlib
import tempfile
import webbrowser
from typing import Any

from tf1_mtl.commands import options
from tf1_mtl.errors import InputError, require
from tf1_mtl.quiet import quiet


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "lesson",
        help="a page that walks through the article, with figures and real output",
        description="Runs the article from its first graph to joint training and writes one HTML "
        "file, which needs no network. It shows the code, its output, pictures of what each run "
        "executed, and the corrections to the article with their evidence.",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="the folder to write the page to (optional with --open)",
    )
    parser.add_argument("--open", action="store_true", help="show the page in the web browser")
    options.add_language(parser)
    options.add_seed(parser, "seed of weights and data (default: %(default)s)", default=2016)
    options.add_flags(parser, "--verbose")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Writes the page, prints its path and, if asked to, opens it."""
    if args.output is None and not args.open:
        raise InputError("-o: missing, but should be a folder. Give -o DIR, or --open.")
    require("matplotlib", "plot")
    with quiet(args.verbose):
        from tf1_mtl.teaching.page.build import write_page

        folder = args.output or tempfile.mkdtemp(prefix="tf1-mtl-lesson-")
        path = write_page(folder, args.lang, args.seed)
    print(path)
    if args.open and not webbrowser.open(pathlib.Path(path).resolve().as_uri()):
        raise InputError(f"--open: no web browser was found. Open {path} in one.")
    return 0
