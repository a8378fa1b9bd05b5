"""`tf1-mtl run NOTEBOOK.ipynb`: the code cells run one after another, as a script does."""

import json
import os
import re

import numpy as np
import pytest
from command import refused
from forked import tf1_mtl
from test_fuzz import damaged
from test_legacy_script import ALTERNATE, GRAPH, PYTHON_2, run_in_one_process

from tf1_mtl.baseline import load_recording
from tf1_mtl.errors import InputError
from tf1_mtl.legacy_script import notebook


def nbformat_4(*cells):
    """A notebook with these code cells, and text before each."""
    text = {"cell_type": "markdown", "metadata": {}, "source": ["# no code\n", "1 / 0"]}
    code = {"cell_type": "code", "metadata": {}, "outputs": []}
    entries = [cell for source in cells for cell in (text, {**code, "source": source})]
    language = {"language_info": {"name": "python", "version": "3.5.1"}}
    return {"nbformat": 4, "nbformat_minor": 0, "metadata": language, "cells": entries}


def nbformat_3(*cells):
    text = {"cell_type": "heading", "level": 1, "metadata": {}, "source": "no code"}
    code = {"cell_type": "code", "language": "python", "outputs": []}
    entries = [cell for source in cells for cell in (text, {**code, "input": source})]
    sheets = [{"cells": entries[:2]}, {"cells": entries[2:]}]
    return {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": sheets}


def write(path, *cells, form=nbformat_4):
    path.write_text(json.dumps(form(*cells)), encoding="utf-8")
    return path


def python_of(tmp_path, *cells):
    """What is run of the cells, and what is skipped, without the path."""
    path = write(tmp_path / "n.ipynb", *cells)
    found = notebook.read(str(path))
    skipped = [line.replace(f"{path}, code ", "") for cell in found for line in cell.skipped]
    return [cell.source[:-1] for cell in found], skipped


SKIPPED = {
    "line magic": ("%matplotlib inline\n1", "# %matplotlib inline\n1", "%matplotlib inline"),
    "indented": ("if 1:\n    %load_ext x", "if 1:\n    pass  # %load_ext x", "%load_ext x"),
    "command": ("!pip install x", "# !pip install x", "!pip install x"),
    "continued": ("!ls \\\n  -l\nx = 1", "# !ls \\\n#   -l\nx = 1", "!ls \\"),
    "help": ("tf.Variable?", "# tf.Variable?", "tf.Variable?"),
    "help first": ("?tf\nx", "# ?tf\nx", "?tf"),
    "help twice": ("tf.Graph??", "# tf.Graph??", "tf.Graph??"),
    "cell of Python": ("\n%%time\nx = 1", "\n# %%time\nx = 1", "%%time"),
    "other cell": ("%%bash\nrm x", "", "%%bash"),
    "within": ("%%capture out\n%env A=1", "# %%capture out\n# %env A=1", "%%capture out"),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_what_only_jupyter_can_run_is_skipped_and_told(tmp_path, name):
    source, runs, line = SKIPPED[name]
    (python,), skipped = python_of(tmp_path, source)
    assert python == runs
    number = 2 if source[0] == "\n" or name == "indented" else 1
    assert skipped[0].startswith(f"cell 1, line {number}: {line}: skipped")
    assert len(skipped) == (2 if name == "within" else 1)
    assert ("run it in a shell first" in skipped[0]) == ("!" in source)
    assert ("and the cell with it" in skipped[0]) == (name == "other cell")


PYTHONS = {
    "modulo": "x = (7\n% 4)",
    "format": "text = ('%d'\n      % 3)",
    "string": 'text = """\n%matplotlib inline\n!ls\nreally?\nx = !ls\n%time x\n"""',
    "backslash": "x = 7 \\\n% 4",
    "comment": "# %matplotlib inline\n# why?",
    "not equal": "x = 1 != 2",
    "bracket": "x = [\n1, 7\n% 4,\n]\n# !ls",
}


@pytest.mark.parametrize("name", PYTHONS)
def test_what_python_can_run_is_left_as_it_is(tmp_path, name):
    assert python_of(tmp_path, PYTHONS[name]) == ([PYTHONS[name]], [])


def test_a_timed_statement_runs(tmp_path):
    source = "for i in range(2):\n    %time x = f(i)\n%time y = [\n1]\n%matplotlib inline"
    (python,), skipped = python_of(tmp_path, source)
    assert python == ("for i in range(2):\n    x = f(i)\ny = [\n1]\n# %matplotlib inline")
    assert skipped == ["cell 1, line 5: %matplotlib inline: skipped."]


@pytest.mark.parametrize("line", ["files = !ls", "a, b = %store x", "x['a'] = %time f()"])
def test_a_value_that_jupyter_alone_can_give_is_an_error(tmp_path, line):
    with pytest.raises(InputError, match=r"code cell 2, line 3: .*Write it in Python"):
        python_of(tmp_path, "x = 1", f"\n\n{line}")


TRACE = "Traceback (most recent call last):\n"
F = "def f():\n    return 1"
PYTHON_2_CELLS = ("print('not run')", "x = 1\nprint x")
PYTHON_2_LINE = '  File "PATH, code cell 2", line 2\n    print x\n'
#: What notebooks do: (code cells, exit status, stdout, how stderr begins). PATH is the notebook.
RUNS = {
    "names": ((["x = 1\n", "y = 2"], "print(x + y, __name__)"), 0, "3 __main__\n", ""),
    "values": (("7\n8", "None", "9;", "_ + 1"), 0, "8\n9\n", ""),
    "its folder": (
        (
            "import os, beside",
            "beside.__name__, os.path.basename(os.getcwd()), '__file__' in vars()",
        ),
        0,
        "('beside', 'notebooks', False)\n",
        "",
    ),
    "future": (("from __future__ import barry_as_FLUFL", "1 <> 2"), 0, "True\n", ""),
    "source": ((f"import inspect\n{F}", "print(inspect.getsource(f))"), 0, f"{F}\n\n", ""),
    "error": (
        ("def f():\n    return 1 / 0", "print(1)", "# first\n\nf()"),
        1,
        "1\n",
        f'{TRACE}  File "PATH, code cell 3", line 3, in <module>\n    f()\n'
        '  File "PATH, code cell 1", line 2, in f\n    return 1 / 0\n',
    ),
    "python 2": (PYTHON_2_CELLS, 1, "", PYTHON_2_LINE),
    "skipped": (
        ("%matplotlib inline\nprint(1)", "!ls\nprint(2)"),
        0,
        "1\n2\n",
        "tf1-mtl: PATH, code cell 1, line 1: %matplotlib inline: skipped.\n"
        "tf1-mtl: PATH, code cell 2, line 1: !ls: skipped; if the notebook needs this command, run "
        "it in a shell first.\n",
    ),
    "exit": (("import sys\nsys.exit(4)", "1 / 0"), 4, "", ""),
    "no cells": ((), 0, "", ""),
    "nul": (("x = 1\n'\0' x",), 1, "", '  File "PATH, code cell 1", line 2\n'),
    "session": (
        (
            "import tensorflow as tf\nx = tf.placeholder('float', name='x')",
            "session = tf.Session()\nprint(session.run(x + 1, {x: 2}))",
        ),
        0,
        "3.0\n",
        "",
    ),
    "session fails": (
        ("import tensorflow as tf", "\ntf.no_such_thing"),
        1,
        "",
        f'{TRACE}  File "PATH, code cell 2", line 2, in <module>\n    tf.no_such_thing\n',
    ),
}
FORMS = [nbformat_3, nbformat_4]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Runs all notebooks in one process; {name: (path, [status, stdout, stderr])}."""
    folder = tmp_path_factory.mktemp("x") / "notebooks"
    folder.mkdir()
    (folder / "beside.py").write_text("")
    paths = {}
    for name, (cells, *_) in RUNS.items():
        for form in FORMS:
            key = f"{name} {form.__name__}"
            paths[key] = str(write(folder / f"{key}.ipynb", *cells, form=form))
    found = run_in_one_process(folder.parent, paths, [])
    return {name: (paths[name], found[name]) for name in paths}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@pytest.mark.parametrize("name", RUNS)
def test_a_notebook_runs_as_a_script_does(results, name, form):
    path, (status, stdout, stderr) = results[f"{name} {form.__name__}"]
    _, right_status, right_stdout, begins = RUNS[name]
    assert (status or 0, stdout) == (right_status, right_stdout), stderr
    assert stderr.startswith(begins.replace("PATH", path))
    assert bool(stderr) == bool(begins)
    assert "legacy_script" not in stderr
    if name == "python 2":
        last = stderr.splitlines()[-1]
        assert last.startswith(PYTHON_2) and "nbconvert --to script" in last


@pytest.mark.slow
def test_the_cells_of_a_recorded_notebook_print_what_the_script_prints(tmp_path):
    graph = GRAPH.replace("{imports}", "import tensorflow as tf")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    script = tmp_path / "script.py"
    script.write_text(graph + ALTERNATE[len(GRAPH) :])
    cells = [graph, "%matplotlib inline", ALTERNATE[len(GRAPH) :]]
    write(folder / "n.ipynb", *cells)
    # The recording is named from the folder of the command, not from that of the notebook.
    options = ["run", "--seed", "7", "--record"]
    ran = tf1_mtl(*options, "n.npz", os.path.join("notebooks", "n.ipynb"), cwd=str(tmp_path))
    plain = tf1_mtl(*options, "s.npz", "script.py", cwd=str(tmp_path))
    assert (ran.returncode, plain.returncode) == (0, 0), ran.stderr + plain.stderr
    assert ran.stdout == plain.stdout and len(ran.stdout.split()) == 10
    recordings = [load_recording(str(tmp_path / name)) for name in ("n.npz", "s.npz")]
    of_notebook, of_script = [[run.fetched for run in each.runs] for each in recordings]
    assert len(of_notebook) == 11
    assert str(of_notebook) == str(of_script)
    assert recordings[0].manifest["script"] == os.path.join("notebooks", "n.ipynb")


IN_R = {**nbformat_4(), "metadata": {"language_info": {"name": "R\u001b"}}}
#: Files that are not notebooks, and the messages about them.
NO_NOTEBOOKS = {
    "empty": (b"", "not JSON (Expecting value"),
    "script": (b"import tensorflow as tf", "not JSON (Expecting value"),
    "bytes": (b"\xff\x00", "not JSON ("),
    "deep": (b"[" * 200000, "not JSON ("),
    "cut off": (json.dumps(nbformat_4("x = 1")).encode()[:-9], "not JSON ("),
    "long number": (b'{"nbformat": %s}' % (b"4" * 5000), ""),
    "list": (b"[]", "damaged (TypeError: "),
    "no format": (b"{}", "damaged (KeyError: 'nbformat')"),
    "other format": (b'{"nbformat": 5, "metadata": {}, "cells": []}', "of nbformat 5, but"),
    "no cells": (b'{"nbformat": 4, "metadata": {}}', "damaged (KeyError: 'cells')"),
    "no sheets": (b'{"nbformat": 3, "metadata": {}, "cells": []}', "damaged (KeyError: 'worksh"),
    "a cell is text": (b'{"nbformat": 4, "metadata": {}, "cells": [""]}', "damaged (TypeError"),
    "metadata": (b'{"nbformat": 4, "metadata": [], "cells": []}', "damaged (AttributeError"),
    **{
        name: (json.dumps(content).encode(), what)
        for name, content, what in (
            ("a line is a number", nbformat_4(["x", 1]), "damaged (TypeError: sequence item 1"),
            ("half a character", nbformat_4("'\ud800'"), "damaged (UnicodeEncodeErr"),
            ("another language", IN_R, "written in R\\x1b, but should be in Python."),
            ("a needed value", nbformat_4("x = !ls"), ", code cell 1, line 1: x = !ls"),
        )
    },
}


@pytest.mark.parametrize("name", NO_NOTEBOOKS)
def test_what_is_no_notebook_is_rejected(name, tmp_path, capsys):
    content, what = NO_NOTEBOOKS[name]
    path = tmp_path / "n.ipynb"
    path.write_bytes(content)
    stderr = refused(capsys, "run", "--record", tmp_path / "n.npz", path, folder=tmp_path)
    assert stderr.count("\n") == 1
    assert stderr.startswith(f"tf1-mtl: {path}") and what in stderr


def test_a_huge_file_is_rejected_unread(tmp_path):
    path = tmp_path / "n.ipynb"
    with open(str(path), "wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(InputError, match=r"n\.ipynb: larger than 64 MB, but .* Clear its outputs"):
        notebook.read(str(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(str(tmp_path / "n.ipynb"))
    with pytest.raises(InputError, match="not a regular file"):
        notebook.read(str(tmp_path / "n.ipynb"))


def test_many_damaged_notebooks(tmp_path):
    """Each is rejected, or is a notebook still; none gives another error."""
    content = json.dumps(nbformat_4("%%time\nx = 1", "!ls \\\n -l\nprint('%d'\n% x)")).encode()
    path, rng, rejected = tmp_path / "n.ipynb", np.random.RandomState(3), 0
    for _ in range(1000):
        path.write_bytes(damaged(content, rng))
        try:
            notebook.compiled(notebook.read(str(path)))
        except InputError as error:
            assert str(path) in str(error)
            rejected += 1
        except SyntaxError as error:
            assert re.match(r".*n\.ipynb, code cell \d$", error.filename)
    assert rejected > 300
