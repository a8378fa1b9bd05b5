"""Reads the code cells of a Jupyter notebook as Python, without what only Jupyter can run."""

import __future__

import ast
import json
import linecache
import re
import tokenize
from types import CodeType
from typing import Any, List, NamedTuple

from tf1_mtl.errors import InputError, printable
from tf1_mtl.files import open_regular

_LIMIT_MB = 64
#: What may open a statement in Jupyter and not in Python: a magic, a shell command, a question.
_NEEDED = re.compile(r"\s*[\w.,* \[\]'\"]+=\s*[%!]\w")  # files = !ls
_JUPYTERS = re.compile(rf"\s*([%!?]|[\w.]+\?{{1,2}}\s*$)|{_NEEDED.pattern}")
_TIMED = re.compile(r"(\s*)%time\s+(?=\S)")  # %time STATEMENT
_OF_PYTHON = re.compile(r"%%(time|timeit|capture|prun)\b")  # cells whose other lines are Python
_FUTURES = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)


class Cell(NamedTuple):
    """Holds a code cell."""

    name: str  #: what stands for its file in a traceback: "PATH, code cell N", from 1 on
    source: str  #: Python; what is skipped is a comment
    skipped: List[str]  #: a line for each thing that is not run


def read(path: str) -> List[Cell]:
    """Returns the code cells of a notebook of nbformat 3 or 4.

    Raises:
      InputError: It is not such a notebook, is not of Python or is too large, or a line needs the
        value of what only Jupyter can run.
    """
    name = f"{path}, code cell "
    return [_cell(f"{name}{n}", source) for n, source in enumerate(_sources(path), 1)]


def compiled(cells: List[Cell]) -> List[CodeType]:
    """Returns what to execute, one after another; the value that ends a cell is printed.

    Raises:
      SyntaxError: A cell is not Python; the file name is that of the cell.
    """
    codes: List[CodeType] = []
    futures = 0  # as in Jupyter, `from __future__ import` holds for the cells that follow
    for name, source, _ in cells:
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        tree: Any = compile(source, name, "exec", ast.PyCF_ONLY_AST | futures, dont_inherit=True)
        shown = tree.body[-1:] if not source.rstrip().endswith(";") else []
        if shown and isinstance(shown[0], ast.Expr):
            del tree.body[-1]
        else:
            shown = []
        codes.append(compile(tree, name, "exec", futures, dont_inherit=True))
        futures |= codes[-1].co_flags & _FUTURES
        codes.append(compile(ast.Interactive(shown), name, "single", futures, dont_inherit=True))
    return codes


def _sources(path: str) -> List[str]:
    """Returns the text of each code cell."""
    should = "but should be a Jupyter notebook of nbformat 3 or 4. Save it again with Jupyter."
    try:
        with open_regular(path) as file:
            content = file.read(_LIMIT_MB * 2**20 + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Check the file.") from error
    if len(content) > _LIMIT_MB * 2**20:
        raise InputError(
            f"{path}: larger than {_LIMIT_MB} MB, but a notebook should be smaller. Clear its "
            "outputs with Jupyter, and save it."
        )
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}), {should}") from error
    try:
        old = document["nbformat"] == 3
        if not old and document["nbformat"] != 4:
            raise InputError(f"{path}: of nbformat {document['nbformat']!r}, {should}")
        metadata = document["metadata"]
        language = str((metadata.get("language_info") or {}).get("name", "python"))
        sheets = document["worksheets"] if old else [document]
        cells = [cell for sheet in sheets for cell in sheet["cells"] if cell["cell_type"] == "code"]
        found = [cell["input" if old else "source"] for cell in cells]
        sources = [text if isinstance(text, str) else "".join([*text]) for text in found]
        "".join(sources).encode()
    except (KeyError, TypeError, AttributeError, UnicodeEncodeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: damaged ({printable(what)}), {should}") from error
    if "python" not in language.lower():
        raise InputError(
            f"{path}: written in {printable(language)}, but should be in Python. Run it with "
            "Jupyter, and the kernel of that language."
        )
    return sources


def _cell(name: str, source: str) -> Cell:
    """Returns a cell, with everything that is not Python made a comment."""
    lines = source.replace("\0", "\ufffd").split("\n")  # a NUL has no line in a SyntaxError
    skipped: List[str] = []
    start = next((n for n, line in enumerate(lines) if line.strip()), 0)
    if lines[start].startswith("%%"):
        where = f"{name}, line {start + 1}: {printable(lines[start][:60])}: skipped"
        if not _OF_PYTHON.match(lines[start]):
            return Cell(name, "", [f"{where}, and the cell with it."])
        skipped.append(f"{where}.")
        lines[start] = f"# {lines[start]}"
    begin = 0  # where the statement begins that a line may continue
    for number, line in enumerate(lines):
        if _JUPYTERS.match(line) and _is_complete(lines[begin:number]):
            begin = number
            lines[number] = _python(line, f"{name}, line {number + 1}", skipped)
            for after in range(number + 1, len(lines)):
                if _TIMED.match(line) or not lines[after - 1].endswith("\\"):
                    break
                lines[after] = f"# {lines[after]}"
    return Cell(name, "\n".join(lines) + "\n", skipped)


def _python(line: str, where: str, skipped: List[str]) -> str:
    """Returns what takes the place of a line for Jupyter, and adds to what is skipped."""
    where += f": {printable(line.strip()[:60])}"
    indent, sign = re.match(r"(\s*)(\S)", line).groups()  # type: ignore[union-attr]
    if _TIMED.match(line):
        return _TIMED.sub(indent, line)
    if _NEEDED.match(line):
        raise InputError(f"{where}: Jupyter alone can run this. Write it in Python.")
    advice = "; if the notebook needs this command, run it in a shell first" if sign == "!" else ""
    skipped.append(f"{where}: skipped{advice}.")
    # An indented block may hold nothing else. At the top, `from __future__` may follow.
    return f"{indent}{indent and 'pass  '}# {line.strip()}"


def _is_complete(lines: List[str]) -> bool:
    """Returns False inside a bracket or a string, or behind a backslash: the next line goes on."""
    text = iter([f"{line.lstrip()}\n" for line in lines])
    try:
        list(tokenize.generate_tokens(lambda: next(text, "")))
    except (tokenize.TokenError, SyntaxError):
        return False
    return not (lines and lines[-1].endswith("\\"))
