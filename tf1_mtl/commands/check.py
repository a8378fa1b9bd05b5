"""`tf1-mtl check`: holds a newer port against TensorFlow 1.x's recorded trajectories."""

import argparse
import contextlib
import importlib
import importlib.util
import os
import sys
import traceback
from types import ModuleType
from typing import Any

from tf1_mtl.errors import InputError


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "check",
        help="check a newer port against TensorFlow 1.x and name what it does differently",
        description="Runs a port on every golden and judges it. Ends with 0 when it conforms, with "
        "1 when it deviates, with 2 when the port itself broke. TensorFlow is imported only if the "
        "port does it. What the port prints goes to stderr.",
    )
    parser.add_argument(
        "port",
        metavar="MODULE:PORT",
        help="a module's name or a .py file, and the class or function in it that takes share_W, "
        "share_Y1, share_Y2 and returns an object with step(task, X, Y1, Y2) and weights()",
    )
    parser.add_argument(
        "--golden",
        metavar="FILE.npz",
        help="in place of the package's goldens, a recording of the article's graph, as --record "
        "writes it",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Checks one port and prints the report."""
    from tf1_mtl.baseline.conformance import check
    from tf1_mtl.baseline.own_recording import own_golden

    module, _, name = args.port.rpartition(":")
    if not module or not name:
        raise InputError(
            f"MODULE:PORT is {args.port!r}, should be a module or .py file, a colon and the port's "
            "name. Write, for example, my_port.py:Port."
        )
    name_of_golden = os.path.basename(args.golden or "")
    goldens = {name_of_golden: own_golden(args.golden)} if args.golden else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # for a port that imports TensorFlow
    with contextlib.redirect_stdout(sys.stderr):
        try:
            imported = _import(module)
        except InputError:
            raise
        except (Exception, SystemExit):
            print(_traceback_from(module), file=sys.stderr)
            print(
                f"tf1-mtl: {module}: broke while it was imported, as above. Make `import` of it "
                "work first, with this very Python.",
                file=sys.stderr,
            )
            return 2
        port = getattr(imported, name, None)
        if not callable(port):
            found = [key for key, value in vars(imported).items() if _is_of(imported, value)]
            raise InputError(
                f"{module}: has no class or function {name!r}, should be one of "
                f"{', '.join(found) or 'those it defines (it defines none)'}. Check the name."
            )
        report = check(port, goldens=goldens)
    print(report.to_json() if args.json else report)
    return 2 if report.broke else 0 if report.passed else 1


def _import(module: str) -> ModuleType:
    if not module.endswith(".py"):
        sys.path.insert(0, os.getcwd())  # as `python -m` does
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and (module + ".").startswith(error.name + "."):
                raise InputError(
                    f"{module}: no such module, should be importable from here. Check the name, or "
                    "give the path of its .py file."
                ) from error
            raise
    if not os.path.isfile(module):
        raise InputError(f"{module}: no such file, should be a Python file. Check the path.")
    sys.path.insert(0, os.path.dirname(os.path.abspath(module)))  # as `python FILE` does
    name = _name_of(module)
    spec = importlib.util.spec_from_file_location(name, module)
    assert spec is not None and spec.loader is not None  # it ends in .py
    imported = importlib.util.module_from_spec(spec)
    sys.modules[name] = imported
    spec.loader.exec_module(imported)
    return imported


def _traceback_from(module: str) -> str:
    """The traceback of the error at hand from the module's own frame on, where it has one."""
    kind, error, trace = sys.exc_info()
    own = trace
    while own and own.tb_frame.f_globals.get("__name__") != _name_of(module):
        own = own.tb_next
    return "".join(traceback.format_exception(kind, error, own)).rstrip()


def _name_of(module: str) -> str:
    return os.path.splitext(os.path.basename(module))[0] if module.endswith(".py") else module


def _is_of(module: ModuleType, value: Any) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__
