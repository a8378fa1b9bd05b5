"""The lessons as notebooks: made from the scripts by jupytext, executed by nbclient.

python -m tests.lesson_notebooks    writes them beside the scripts; needs the extra `notebook`
"""

import ast
import pathlib
from typing import Any, List

from tf1_mtl.errors import require

FOLDER = pathlib.Path(__file__).parent.parent / "legacy_examples"
SCRIPTS = sorted(FOLDER.glob("[0-9]*.py"), key=lambda path: int(path.name.split("_")[0]))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def made(script: pathlib.Path) -> Any:
    """Returns a lesson as a notebook that has not been run.

    The docstring and the titles of the cells become text.
    """
    source = script.read_text(encoding="utf-8")
    notebook = require("jupytext", "notebook").reads(source, fmt="py:percent")
    head = notebook.cells[0]
    docstring = ast.get_docstring(ast.parse(source)) or ""
    head.source = head.source.split('"""\n', 1)[1].strip()
    texts = ["# " + docstring.replace(".\n", "\n", 1)]
    texts += ["## " + cell.metadata["title"] for cell in notebook.cells[1:]]
    cells: List[Any] = []
    for text, code in zip(texts, notebook.cells):
        cells += [require("nbformat.v4", "notebook").new_markdown_cell(text), code]
    for number, cell in enumerate(cells, 1):
        cell["id"], cell["metadata"] = f"cell-{number}", {}
    notebook.update(cells=cells, metadata=METADATA, nbformat=4, nbformat_minor=5)
    return notebook


def executed(notebook: Any) -> Any:
    """Runs the cells in a kernel of their own, and returns the notebook with what they print.

    Raises:
      AssertionError: There is an output that is not text on stdout.
    """
    client = require("nbclient", "notebook").NotebookClient(
        notebook, record_timing=False, timeout=300, resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute()
    for cell in notebook.cells:
        if cell.get("outputs"):
            assert {output.get("name") for output in cell.outputs} == {"stdout"}, cell.outputs
            text = "".join(output.text for output in cell.outputs)
            output = require("nbformat.v4", "notebook").new_output
            cell.outputs = [output("stream", name="stdout", text=text)]
    notebook.metadata = METADATA  # the kernel adds its version
    return notebook


if __name__ == "__main__":
    for path in SCRIPTS:
        lesson = executed(made(path))
        require("nbformat", "notebook").write(lesson, str(path.with_suffix(".ipynb")))
