"""Writes the lesson page: the article as one HTML file that needs no other file.

The words are in lesson.en.html and lesson.zh.html. What is run and measured replaces
{{listing NAME}}, {{evidence NAME}} and so on. Each of these is a method of `_Page`. instrument.js
lets a reader change what a run fetches and feeds.
"""

import json
import os
import platform
import re
import tempfile
from html import escape
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.files import make_folder, replacing
from tf1_mtl.graph import build_graph
from tf1_mtl.session import open_session
from tf1_mtl.teaching import Explanation, explain, figures
from tf1_mtl.teaching.chinese import in_language
from tf1_mtl.teaching.diagram import Diagram, diagram
from tf1_mtl.teaching.first_graph import build_first_graph
from tf1_mtl.teaching.page import instrument, lessons

#: For each picture, the fetches whose needs it draws (None: the whole graph), and the run that it
#: shows.
PICTURES: Dict[str, Tuple[Optional[Sequence[str]], Sequence[str]]] = {
    "first": (None, ("Loss",)),
    "shared": (("Y1_Loss", "Y2_Loss"), ()),
    "alternate": (("Y1_op", "Y2_op"), ("Y1_op", "Y1_Loss")),
    "joint": (None, ("Optimiser", "Joint_Loss")),
}
_DIRECTIVE = re.compile(r"{{(\w+) ([\w.]+)(?: \| (.*?))?}}")


def write_page(folder: str, language: str = "en", seed: int = 2016) -> str:
    """Runs everything that the page shows, and writes the page.

    Args:
      folder: The folder of the page. It is made if it does not exist.
      language: "en" or "zh".
      seed: The seed of weights and data.

    Returns:
      The path of the file: lesson.en.html or lesson.zh.html in the folder.

    Raises:
      InputError: The folder cannot be written.
      MissingExtra: matplotlib is not installed.
      ClaimError: A claim is false on this TensorFlow. Then nothing is written.
    """
    make_folder(folder)
    path = os.path.join(folder, f"lesson.{language}.html")
    html = _Page(language, seed).html()
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(html)
    return path


class _Page:
    """Builds one page."""

    def __init__(self, language: str, seed: int) -> None:
        self.language, self.seed = language, seed
        self.net = build_graph(np.random.RandomState(seed))
        self.names: Dict[str, Any] = {}  #: the variables of the listing above
        self.runs: Dict[str, Explanation] = {}  #: by the name of the picture

    def html(self) -> str:
        """Returns the whole file. Directives are replaced from the top down."""
        return _DIRECTIVE.sub(
            lambda found: getattr(self, found.group(1))(*filter(None, found.groups()[1:])),
            self.file(f"lesson.{self.language}.html"),
        )

    def file(self, name: str) -> str:
        """Returns the text of a file beside this one."""
        with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as file:
            return file.read()

    def fact(self, name: str) -> str:
        """Returns a fact about the run that made the page, such as the seed."""
        if name == "device":
            with open_session(self.net) as session:
                return escape(session.device)
        return {
            "seed": str(self.seed),
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        }[name]

    def about(self, lesson: str) -> str:
        """Returns the docstring of a lesson as paragraphs."""
        text = lessons.about(lesson).partition("Run it:")[0]
        paragraphs = [escape(part, quote=False).strip() for part in text.split("\n\n")]
        return "".join(f"<p>{_code(part)}</p>\n" for part in paragraphs)

    def listing(self, lesson: str, graph: str = "") -> str:
        """Returns a lesson and its output. The evidence below continues it.

        Args:
          lesson: The name of its file, without ending.
          graph: The title of the part up to the graph, which is folded. "" folds nothing.
        """
        ran = lessons.run_lesson(lesson, self.seed)
        self.names = ran.names
        folded, code = "", ran.code
        if graph:
            start = code.index("# %%", code.index("# %% The graph") + 1)
            before, code = escape(code[:start].rstrip(), quote=False), code[start:]
            folded = f"<details><summary>{graph}</summary><pre>{before}\n\n</pre></details>"
        return (
            f'<div class="listing">{folded}<pre>{escape(code.rstrip(), quote=False)}\n</pre></div>'
            f'\n<pre class="output">{escape(ran.output, quote=False)}</pre>'
        )

    def evidence(self, claim: str) -> str:
        """Returns the evidence of a claim, which continues the listing above it."""
        ran = lessons.evidence(claim, self.names)
        lines = [f"{escape(code)}<samp>{escape(output)}</samp>" for code, output in ran]
        return f'<div class="listing"><pre>{"".join(lines).rstrip()}</pre></div>'

    def picture(self, name: str) -> str:
        """Returns a picture of the graph, or of a run."""
        graph: Any = build_first_graph() if name == "first" else self.net
        run = self._run(name, graph) if PICTURES[name][1] else None
        return _svg(name, graph, PICTURES[name][0], run, self.language)

    def instrument(self, part: str) -> str:
        """Returns the drawing of section "try", or the data of its script."""
        if part == "picture":
            return _svg("try", self.net, None, instrument.nothing_runs(self.net), self.language)
        known = json.dumps(instrument.data(self.net, self.language), ensure_ascii=False)
        return known.replace("<", "\\u003c")  # so that a name cannot end the element

    def rows(self, name: str) -> str:
        """Returns the body of a table: how many nodes of each group ran."""
        groups: Dict[str, Dict[str, int]] = self._run(name, self.net).as_json()["groups"]
        body: List[str] = []
        for title, counts in groups.items():
            idle = ' class="idle"' if counts["measured"] == 0 else ""
            body.append(f"<tr{idle}>{self._cells(title, counts.values())}</tr>")
        total = [sum(numbers) for numbers in zip(*(c.values() for c in groups.values()))]
        foot = f"<tfoot><tr>{self._cells('all', total)}</tr></tfoot>"
        return f"<tbody>{''.join(body)}</tbody>{foot}"

    def _run(self, name: str, graph: Any) -> Explanation:
        if name not in self.runs:
            self.runs[name] = explain(PICTURES[name][1], graph=graph)
        return self.runs[name]

    def _cells(self, title: str, numbers: Any) -> str:
        head = f'<th scope="row">{escape(in_language(title, self.language))}</th>'
        return head + "".join(f"<td>{number}</td>" for number in numbers)


def _code(text: str) -> str:
    return re.sub("`(.*?)`", r"<code>\1</code>", text)


def _svg(name: str, graph: Any, only: Any, explanation: Any, language: str) -> str:
    """Returns a picture as an element of the page, whose style may change the colours."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "figure.svg")
        figures.draw(path, graph, only, explanation, language=language)
        with open(path, encoding="utf-8") as file:
            svg = file.read()
    svg = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>", "", svg, flags=re.S)
    svg = svg[svg.index("<svg") :]
    description = _in_words(svg, diagram(graph, only))
    # The ids of two pictures differ. A colour is a CSS variable named after it.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg)
    svg = re.sub(r"(fill|stroke): #(\w{6})\b", r"\1: var(--c\2, #\2)", svg)
    box = re.findall(r'viewBox="([^"]*)"', svg)[0]
    width = float(box.split()[2]) * 4 / 3  # the size of the drawing, in pixels instead of points
    wide = "" if name == "first" else ' wide" tabindex="0'
    return (
        f'<div class="picture{wide}" role="img" aria-labelledby="{name}-caption" '
        f'aria-describedby="{name}-described">'
        f'<svg viewBox="{box}" style="max-width: {width:.0f}px">'
        f'<desc id="{name}-described">{description}</desc>{svg[svg.index(">") + 1 :]}</div>'
    )


def _in_words(svg: str, picture: Diagram) -> str:
    """Returns the boxes of a picture for a screen reader: their inputs, title and lines."""
    boxes = []
    for number in range(len(picture.boxes)):
        part = rf'id="box{number}-(?:title|line\d+|state)">.*?<text[^>]*>([^<]*?),?</text>'
        inputs = [picture.boxes[edge.start].title for edge in picture.edges if edge.end == number]
        arrow = f"{escape(', '.join(inputs))} → " if inputs else ""
        boxes.append(arrow + ", ".join(re.findall(part, svg, flags=re.S)))
    return "; ".join(boxes)
