"""Runs what the page shows: the lessons of legacy_examples, and the evidence of the claims."""

import ast
import contextlib
import doctest
import io
import os
import re
from typing import Any, Dict, NamedTuple

import tf1_mtl

_PACKAGE = os.path.dirname(os.path.abspath(tf1_mtl.__file__))


class ClaimError(AssertionError):
    """Is raised if a claim of the page is false on this TensorFlow."""


class Ran(NamedTuple):
    """Holds a lesson that was run just now."""

    code: str  #: the code after the docstring
    output: str  #: what it printed
    names: Dict[str, Any]  #: the variables that it left


def run_lesson(name: str, seed: int) -> Ran:
    """Runs a lesson with another seed than its own.

    Args:
      name: The name of the file without ending, such as "1_first_graph".
      seed: Replaces the seed in the file.
    """
    source = re.sub(r"RandomState\(\d+\)", f"RandomState({seed})", read(f"{name}.py"))
    source = source.replace("import quiet_tensorflow\n", "")  # stands beside the lessons alone
    names: Dict[str, Any] = {"__name__": "__main__"}
    output = _run(compile(source, f"{name}.py", "exec"), names)
    return Ran(source.split('"""\n', 1)[1].lstrip(), output, names)


def about(name: str) -> str:
    """Returns the docstring of a lesson."""
    return ast.get_docstring(ast.parse(read(f"{name}.py"))) or ""


def read(name: str) -> str:
    """Returns the text of a lesson, from the installed package or from the checkout."""
    installed = os.path.join(_PACKAGE, "lessons")
    folder = installed if os.path.isdir(installed) else f"{_PACKAGE}/../legacy_examples"
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()


def claims() -> Dict[str, str]:
    """Returns the evidence by the name of its claim: code with what it should print."""
    with open(os.path.join(os.path.dirname(__file__), "claims.txt"), encoding="utf-8") as file:
        parts = re.split(r"^(\w+)\n(?=    >>>)", file.read(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


class Evidence(NamedTuple):
    """Holds a statement of evidence and what it printed."""

    code: str
    output: str


def evidence(claim: str, names: Dict[str, Any]) -> "list[Evidence]":
    """Runs the evidence of a claim.

    Args:
      claim: Its name in claims.txt.
      names: Variables for the evidence. The dictionary is not changed.

    Raises:
      ClaimError: The evidence printed another text than it should.
    """
    names, ran = dict(names), []
    for example in doctest.DocTestParser().get_examples(claims()[claim]):
        source = example.source
        mode = "eval" if isinstance(ast.parse(source).body[0], ast.Expr) else "exec"
        printed = _run(compile(source, f"<{claim}>", mode), names, catch=True)
        if not doctest.OutputChecker().check_output(example.want, printed, doctest.ELLIPSIS):
            raise ClaimError(f"{claim}:\n{source}printed\n{printed}but should\n{example.want}")
        ran.append(Evidence(source, printed))
    return ran


def _run(code: Any, names: Dict[str, Any], catch: bool = False) -> str:
    """Returns what code prints. As in a notebook, it prints values of expressions and errors."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            value = eval(code, names)
            if value is not None:
                print(repr(value))
        except Exception as error:
            if not catch:
                raise
            print(f"raises {type(error).__name__}: {_telling_line(error)}")
    return printed.getvalue()


def _telling_line(error: Exception) -> str:
    """Returns the first sentence of an error, without the place where the node was made."""
    line = str(error).partition("\n\t [[")[0].splitlines()[-1].strip()
    return line.partition(". ")[0]
