"""`tf1-mtl check`: holds a newer port against TensorFlow 1.x's recorded trajectories."""

import argparse
import contextlib
import functools
import importlib
import importlib.util
import json
import os
import sys
import traceback
from types import ModuleType
from typing import Any, Callable, Optional

from tf1_mtl.errors import InputError


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "check",
        help="check a newer port against TensorFlow 1.x and name what it does differently",
        description="Runs a port on every golden and judges it. Without a port, the recordings "
        "themselves are checked: their graphs are evaluated beside what TensorFlow recorded. Ends "
        "with 0 when everything conforms, with 1 when something deviates, with 2 when the port "
        "itself broke. TensorFlow is imported only if the port does it. What the port prints goes "
        "to stderr.",
    )
    parser.add_argument(
        "port",
        metavar="MODULE:PORT",
        nargs="?",
        help="the name of a module or a .py file, and the class or function in it that makes a "
        "port: of the article it takes share_W, share_Y1, share_Y2 and returns an object with "
        "step(task, X, Y1, Y2) and weights(); of another recording it takes a dict of weights and "
        "has step(task, feeds)",
    )
    parser.add_argument(
        "--golden",
        metavar="FILE.npz",
        help="a recording of any TensorFlow 1 script, as --record writes it, in place of the "
        "goldens of the article",
    )
    parser.add_argument(
        "--skeleton", action="store_true", help="print a port of the recording to fill in"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Checks one port and prints the report."""
    if args.skeleton:
        from tf1_mtl.baseline.skeleton import skeleton

        print(skeleton(args.golden or "joint"), end="")
        return 0
    if args.port is None:
        return _verify(args.golden, args.json)
    module, _, name = args.port.rpartition(":")
    if not module or not name:
        raise InputError(
            f"MODULE:PORT is {args.port!r}, should be a module or .py file, a colon and the port's "
            "name. Write, for example, my_port.py:Port."
        )
    check = _checker(args.golden)
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
        report = check(port)
    print(report.to_json() if args.json else report)
    return 2 if report.broke else 0 if report.passed else 1


def _checker(golden: Optional[str]) -> Callable[[Any], Any]:
    """Return what checks a port: by the model of the article, or by the graph of a recording."""
    from tf1_mtl.baseline.conformance import check
    from tf1_mtl.baseline.own_recording import own_golden

    if golden is None:
        return check
    from tf1_mtl.baseline.checking import check_recordings
    from tf1_mtl.baseline.recordings import load_recording

    recording = load_recording(golden)
    trains = [s for number, s in recording.sessions.items() if recording.steps(number)]
    if trains and not any(session.article for session in trains):
        return functools.partial(check_recordings, goldens=[golden])
    return functools.partial(check, goldens={os.path.basename(golden): own_golden(golden)})


def _verify(golden: Optional[str], as_json: bool) -> int:
    """Hold the evaluator against one recording, or against all goldens."""
    from tf1_mtl.baseline.case import cases_of
    from tf1_mtl.baseline.goldens import golden_names
    from tf1_mtl.baseline.verification import verify

    names = golden_names() if golden is None else [golden]
    found = [verify(case) for name in names for case in cases_of(name)]
    passed = all(one.passed for one in found)
    if as_json:
        cases = [
            {
                "case": one.case.name,
                "runs": len(one.case.steps),
                "reproduced": one.reproduced,
                "differences": one.differences,
                "not_evaluated": one.not_evaluated,
            }
            for one in found
        ]
        print(json.dumps({"passed": passed, "cases": cases}, indent=2))
    else:
        print("\n".join(map(str, found)))
    return 0 if passed else 1


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
