"""`tf1-mtl check`: checks a port against recorded training steps of TensorFlow 1."""

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import sys
import time
import traceback
from types import ModuleType
from typing import Any, Callable, List, Optional, Sequence, Tuple

from tf1_mtl.commands import options
from tf1_mtl.errors import InputError

QUIET_SECONDS = 2  # a check that takes longer shows its progress


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "check",
        help="check a newer port against TensorFlow 1.x and name what it does differently",
        description="Runs a port on every golden and judges it. Without a port, it checks the "
        "recordings: it evaluates their graphs, and compares with what TensorFlow recorded. The "
        "exit status is 0 if everything conforms, 1 if something deviates, and 2 if the port "
        "raises an error or lacks a method. TensorFlow is imported only if the port does it. What "
        "the port prints goes to stderr.",
    )
    parser.add_argument(
        "port",
        metavar="MODULE[:PORT]",
        nargs="?",
        help="a module or .py file, and the class or function in it that makes a port (default: "
        "Port). A port of the article is made from share_W, share_Y1, share_Y2 and has the methods "
        "step(task, X, Y1, Y2) and weights(). A port of another recording is made from a dict of "
        "weights and has the methods step(task, feeds) and weights()",
    )
    parser.add_argument(
        "--golden",
        metavar="FILE.npz",
        action="append",
        help="check against this recording of a TensorFlow 1 script, made by --record, instead "
        "of the goldens of the article (may be repeated)",
    )
    parser.add_argument(
        "--skeleton", action="store_true", help="print a port of the recording to fill in"
    )
    options.add_count(
        parser,
        "--search-seconds",
        "processor time after which the search for what explains a port gives up (default: 9 for "
        "the article, 60 for other recordings)",
    )
    options.add_flags(parser, "--json")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Checks one port and prints the report."""
    if args.skeleton:
        from tf1_mtl.baseline.skeleton import skeleton

        print(skeleton(args.golden[0] if args.golden else "joint"), end="")
        return 0
    if args.port is None:
        return _verify(args.golden, args.json)
    from tf1_mtl.baseline.checking import check

    module, name = _module_and_name(args.port)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # for a port that imports TensorFlow
    with contextlib.redirect_stdout(sys.stderr):
        try:
            imported = _import(module)
        except InputError:
            raise
        except (Exception, SystemExit):
            print(_traceback_from(module), file=sys.stderr)
            advice = _advice_for_script(module) or "Make its import work with this Python first."
            print(
                f"tf1-mtl: {module}: raised the error above while it was imported. {advice}",
                file=sys.stderr,
            )
            return 2
        port = getattr(imported, name, None)
        if not callable(port):
            names = _candidates(imported)
            raise InputError(
                f"{module}: has no class or function {name!r}, should be one of "
                f"{', '.join(names) or 'those it defines (it defines none)'}. "
                f"{_advice_for_script(module) or 'Check the name.'}"
            )
        report = check(port, None, args.golden, _progress(), args.search_seconds)
    print(report.to_json() if args.json else report)
    if report.broke and args.golden and not report.unwritten:
        print(
            f"tf1-mtl: {args.port}: for the methods and names that the recording needs, see what "
            f"`tf1-mtl check --golden {args.golden[0]} --skeleton` prints.",
            file=sys.stderr,
        )
    return 2 if report.broke or report.unwritten else 0 if report.passed else 1


def _module_and_name(port: str) -> Tuple[str, str]:
    """Returns the module or file of MODULE[:PORT], and the name of the port in it."""
    if port.endswith(".py"):
        return port, "Port"
    module, colon, name = port.rpartition(":")
    if not colon:
        return port, "Port"
    if not module or not name:
        raise InputError(
            f"MODULE:PORT is {port!r}, should be a module or .py file, a colon and the name of the "
            "port. Write, for example, my_port.py:Port."
        )
    return module, name


def _progress() -> Callable[[int, int], None]:
    """Returns a function that shows on a terminal how many steps a long check has made."""
    start, shown = time.monotonic(), -1

    def show(steps: int, total: int) -> None:
        nonlocal shown
        percent = 100 * steps // total
        if percent != shown and time.monotonic() - start > QUIET_SECONDS:
            shown = percent
            end = "\n" if steps == total else ""
            print(f"\r{steps}/{total} steps ({percent} %)", end=end, file=sys.stderr, flush=True)

    return show if sys.stderr.isatty() else lambda steps, total: None


def _verify(goldens: Optional[Sequence[str]], as_json: bool) -> int:
    """Compares the evaluator with recordings, or with the goldens of the article."""
    from tf1_mtl.baseline.goldens import golden_names
    from tf1_mtl.baseline.recorded_cases import cases_of
    from tf1_mtl.baseline.verification import verify

    names = goldens or golden_names()
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
    if module.endswith(".npz"):
        raise InputError(f"{module}: is not a port. Did you mean --golden {module}?")
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
    """Returns the traceback of the current error, from the first frame of the module on."""
    kind, error, trace = sys.exc_info()
    own = trace
    while own and own.tb_frame.f_globals.get("__name__") != _name_of(module):
        own = own.tb_next
    return "".join(traceback.format_exception(kind, error, own)).rstrip()


def _name_of(module: str) -> str:
    return os.path.splitext(os.path.basename(module))[0] if module.endswith(".py") else module


def _advice_for_script(module: str) -> str:
    """Returns what to do with a file that seems to be a TensorFlow 1 script, or ""."""
    if not module.endswith(".py"):
        return ""
    with open(module, "rb") as file:
        text = file.read()
    if b"tensorflow" not in text or b"Session(" not in text or b"def step(" in text:
        return ""
    return (
        "It looks like a TensorFlow 1 script. Record it first with `tf1-mtl run --record F.npz "
        f"{module}`, then check a port of it with --golden F.npz."
    )


def _candidates(module: ModuleType) -> List[str]:
    """Returns the names of what a module defines that may be a port, first those that look so."""
    found = {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }
    return sorted(found, key=lambda name: not {"step", "weights"} <= set(dir(found[name])))
