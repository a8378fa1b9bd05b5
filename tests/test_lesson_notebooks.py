"""The notebooks of the lessons are what the scripts give: the same cells, the same printed text."""

import json
import os
import re
import subprocess
import sys

import forked
import lesson_notebooks
import lessons
import pytest
import tensorflow
from test_readme import assert_same

from tf1_mtl.errors import MissingExtra

VERSION = tuple(map(int, tensorflow.__version__.split(".")[:2]))
#: Errors of TensorFlow have other words in older versions.
AS_EXECUTED = pytest.mark.skipif(VERSION < (2, 21), reason="executed on TensorFlow 2.21")


def notebook_of(path):
    return json.loads(path.with_suffix(".ipynb").read_text(encoding="utf-8"))


def sources(notebook, kind):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def printed(notebook):
    """The text that the cells print, one after another."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return "".join("".join(output["text"]) for cell in cells for output in cell["outputs"])


def need(path, request):
    """Skips where what a lesson needs is missing."""
    if path.stem == "11_two_images":
        pytest.importorskip("sklearn", reason="pip install 'tf1-mtl[plot]'")
    if path.stem == "12_over_machines":
        request.getfixturevalue("namespaces")


def assert_same_text(*texts):
    """TensorFlow works in parallel: of several variables that lack a value it names any one."""
    assert_same(*(re.sub(r"(Key|uninitialized value) \S+", r"\1", text) for text in texts))


@pytest.mark.parametrize("path", lessons.PATHS, ids=lambda path: path.stem)
def test_the_code_and_the_words_are_those_of_the_script(path):
    """Jupytext is not needed for this; only empty lines differ."""
    notebook = notebook_of(path)
    _, docstring, code = path.read_text(encoding="utf-8").split('"""', 2)
    cells = re.split(r"^# %% (.*)\n", code, flags=re.M)
    assert sources(notebook, "code") == [cell.strip() for cell in cells[::2]]
    head, *titles = sources(notebook, "markdown")
    assert head == "# " + docstring.strip().replace(".\n", "\n", 1)
    assert titles == [f"## {title}" for title in cells[1::2]]


@pytest.mark.parametrize("path", lessons.PATHS, ids=lambda path: path.stem)
def test_a_notebook_shows_nothing_of_a_machine(path):
    text = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert len(text) < 100_000
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"] == lesson_notebooks.METADATA
    kinds = {(cell["cell_type"], *cell["metadata"]) for cell in notebook["cells"]}
    assert kinds == {("markdown",), ("code",)}
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    assert {output["name"] for output in outputs} == {"stdout"}
    assert not re.search(r"(^|[\s\"'=(])/\w+/|\w:\\|\d+:\d\d:\d\d|WARNING|INFO", printed(notebook))


@pytest.mark.slow
@AS_EXECUTED
@pytest.mark.parametrize("path", lessons.PATHS, ids=lambda path: path.stem)
def test_a_notebook_made_and_executed_anew_is_the_notebook(path, request):
    need(path, request)
    for module in ("jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(module, reason="pip install 'tf1-mtl[notebook]'")
    anew, kept = lesson_notebooks.executed(lesson_notebooks.made(path)), notebook_of(path)
    assert_same_text(printed(json.loads(json.dumps(anew))), printed(kept))
    for notebook in (anew, kept):
        for cell in notebook["cells"]:
            cell.pop("outputs", None)
            cell["source"] = "".join(cell["source"])
    assert json.loads(json.dumps(anew)) == kept


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jupytext", None)
    with pytest.raises(MissingExtra, match=r"jupytext: not installed .*tf1-mtl\[notebook\]"):
        lesson_notebooks.made(lessons.PATHS[0])


def by_path(path, folder, **environment):
    """Runs a script by its path from another folder, with nothing set for TensorFlow."""
    unset = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "PYTHONPATH")}
    settings = {"cwd": str(folder), "env": {**unset, **environment}}
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, **settings)


@pytest.mark.slow
@AS_EXECUTED
@pytest.mark.parametrize("path", lessons.PATHS, ids=lambda path: path.stem)
def test_a_script_run_by_its_path_prints_what_the_notebook_shows(path, tmp_path, request):
    need(path, request)
    ran = forked.python(path, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert_same_text(ran.stdout, printed(notebook_of(path)))


@pytest.mark.slow
@AS_EXECUTED
@pytest.mark.parametrize("path", lessons.PATHS[::4], ids=lambda path: path.stem)
def test_a_script_in_a_fresh_process_prints_nothing_else(path, tmp_path):
    ran = by_path(path, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert_same_text(ran.stdout, printed(notebook_of(path)))


def test_a_quiet_import_that_fails_is_told(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('a broken installation')")
    ran = by_path(lessons.PATHS[0], tmp_path, PYTHONPATH=str(tmp_path))
    assert ran.returncode == 1
    assert ran.stderr.endswith("ImportError: a broken installation\n")
