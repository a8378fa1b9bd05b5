"""Writes the page: the article walked through, as one HTML file that needs nothing else."""

import os
import platform
import re
import tempfile
from html import escape
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.files import make_folder, replacing
from tf1_mtl.teaching import explain, figures
from tf1_mtl.teaching.explanation import Explanation
from tf1_mtl.teaching.first_graph import build_first_graph
from tf1_mtl.teaching.page.claims import CLAIMS, Bench
from tf1_mtl.teaching.page.listings import Ran, run_all
from tf1_mtl.teaching.page.texts import LANGUAGES, PHRASES, TEXTS

#: The page's sections: what stands in each, in order. A listing is in capitals; a claim bears the
#: name of its function; a figure, a table and a text bear their section's name.
SECTIONS: Dict[str, Tuple[str, ...]] = {
    "first": (
        "first_text",
        "FIRST",
        "first_figure",
        "building_computes_nothing",
        "zero_weights_give_squares",
    ),
    "shared": (
        "shared_text",
        "GRAPH",
        "shared_figure",
        "the_graph_has_216_nodes",
        "variables_have_no_value_before_init",
        "heads_are_not_shared",
        "l2_loss_is_half_the_sum",
    ),
    "alternate": (
        "alternate_text",
        "ALTERNATE",
        "a_loss_is_from_before_its_step",
        "alternate_figure",
        "one_task_runs_without_the_other",
        "the_other_head_keeps_its_bits",
        "alternate_table",
        "planned_is_measured",
        "grappler_leaves_some_out",
    ),
    "joint": (
        "joint_text",
        "JOINT",
        "the_joint_loss_is_the_sum",
        "joint_figure",
        "a_joint_step_trains_every_weight",
        "joint_table",
        "two_steps_in_one_run_are_not_the_joint_step",
        "each_adam_keeps_its_own",
    ),
    "corrections": (
        "corrections_text",
        "a_step_runs_without_the_other_label",
        "a_value_cannot_be_fetched",
        "no_package_is_called_tensorflow_with_a_capital",
        "the_old_initializer_is_deprecated",
        "a_variable_of_sizes_is_two_integers",
        "l2_loss_takes_one_tensor",
    ),
    "choose": ("choose_text",),
}

#: The words of a program within a sentence: they are set as code.
_CODE = re.compile(
    r"_, Joint_Loss = session\.run\(\[Optimiser, Joint_Loss\], \.\.\.\)"
    r"|tf(?:\.\w+)+(?:\([^()]*\))?|import Tensorflow|\b(?:Tensorflow(?=,)|l2_loss)\b"
    r"|\bshare_\w+(?:/\w+)?|\b(?:Y1|Y2|Joint)_(?:op|Loss)\b|\bAdam_\d\b|\b(?:Optimiser|Loss|Y[12])\b"
    r"|\b[XYW]\b",
    flags=re.ASCII,  # so that a Chinese character ends a word
)


def write_page(folder: str, language: str = "en", seed: int = 2016) -> str:
    """Runs everything that the page shows, and writes it.

    Args:
      folder: Where to; it is made if it is not there.
      language: "en" or "zh".
      seed: Of weights and data.

    Returns:
      The file's path: lesson.en.html or lesson.zh.html in the folder.

    Raises:
      InputError: The folder cannot be written to.
      MissingExtra: matplotlib is not installed.
      ClaimError: A sentence is not so on this TensorFlow; nothing is written.
    """
    make_folder(folder)
    path = os.path.join(folder, f"lesson.{language}.html")
    html = _Page(language, seed).html()
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(html)
    return path


class _Page:
    """One page in the making."""

    def __init__(self, language: str, seed: int) -> None:
        self.language, self.seed = language, seed
        self.bench = Bench(seed)
        self.listings: Dict[str, Ran] = run_all(seed)
        step, joint = ("Y1_op", "Y1_Loss"), ("Optimiser", "Joint_Loss")
        self.runs = {"alternate": self.bench.explain(*step), "joint": self.bench.explain(*joint)}

    def say(self, key: str, **values: Any) -> str:
        """A text in the page's language."""
        return TEXTS[key][list(LANGUAGES).index(self.language)].format(**values)

    def phrase(self, words: str) -> str:
        """What a figure or a table says, in the page's language."""
        if self.language != "en":
            for pattern, translation in PHRASES:
                if re.match(pattern, words):
                    return re.sub(pattern, translation, words)
        return words

    def html(self) -> str:
        """The whole file."""
        with open(os.path.join(os.path.dirname(__file__), "style.css"), encoding="utf-8") as file:
            css = file.read()
        title = escape(self.say("title"))
        contents = "".join(f'<li><a href="#{s}">{escape(self.say(s))}</a></li>' for s in SECTIONS)
        command = f"tf1-mtl lesson -o DIR --lang {self.language} --seed {self.seed}"
        with self.bench.session() as session:
            made_with = self.say(
                "made_with",
                tensorflow=tf.__version__,
                numpy=np.__version__,
                python=platform.python_version(),
                device=session.device,
            )
        body = [
            f"<h1>{title}</h1>",
            f'<p class="lead">{escape(self.say("lead"))}</p>',
            f"<p>{escape(self.say('how_to_read'))}</p>",
            f'<p class="small">{escape(made_with)}<code>{escape(command)}</code></p>',
            f'<nav aria-label="{escape(self.say("contents"))}">'
            f"<strong>{escape(self.say('contents'))}</strong><ol>{contents}</ol></nav>",
        ]
        for number, (section, blocks) in enumerate(SECTIONS.items(), 1):
            heading = f'<span class="number">{number}</span>{escape(self.say(section))}'
            body.append(f'<section id="{section}"><h2>{heading}</h2>')
            body += [self.block(section, block) for block in blocks]
            body.append("</section>")
        return "\n".join(
            [
                "<!DOCTYPE html>",
                f'<html lang="{LANGUAGES[self.language]}"><head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{title}</title>",
                f"<style>\n{css}</style></head>",
                "<body><main>",
                *body,
                "</main></body></html>",
                "",
            ]
        )

    def block(self, section: str, name: str) -> str:
        """One block of a section."""
        if name in self.listings:
            return self.listing(self.listings[name])
        if name in CLAIMS:
            evidence = escape(CLAIMS[name](self.bench))
            sentence = self.sentence(name)
            return f'<div class="claim" id="{name}"><p>{sentence}</p><pre>{evidence}</pre></div>'
        if name.endswith("_figure"):
            return self.figure(section, name)
        if name.endswith("_table"):
            return self.table(self.runs[section], name)
        text = f"<p>{self.sentence(name)}</p>"
        if section == "choose":
            text += "<pre>tf1-mtl compare\ntf1-mtl compare --data FILE.npz --plot FILE.png</pre>"
        return text

    def sentence(self, key: str) -> str:
        """A text with the words of a program set as code."""
        return _CODE.sub(r"<code>\g<0></code>", escape(self.say(key), quote=False))

    def listing(self, ran: Ran) -> str:
        """Code and what it printed."""
        return (
            f'<p class="label">{escape(self.say("code"))}</p><pre>{escape(ran.code)}</pre>'
            f'<p class="label">{escape(self.say("output"))}</p>'
            f'<pre class="output">{escape(ran.output)}</pre>'
        )

    def figure(self, section: str, name: str) -> str:
        """A picture of the graph, and of a run."""
        graph: Any = self.bench.net
        only: Optional[Sequence[str]] = None
        explanation = self.runs.get(section)
        if section == "first":
            graph = build_first_graph()
            explanation = explain("Loss", graph=graph)
        elif section == "shared":
            only = ("Y1_Loss", "Y2_Loss")
        elif section == "alternate":
            only = ("Y1_op", "Y2_op")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "figure.svg")
            figures.draw(path, graph, only, explanation)
            with open(path, encoding="utf-8") as file:
                svg = _inline(file.read(), section, self.say(name), self.phrase)
        caption = self.sentence(name)
        if section == "first":
            caption = f"<figcaption>{caption}</figcaption>"
            return f'<figure><div class="picture">{svg}</div>{caption}</figure>'
        # A wide picture gets small on a narrow screen; there the style enlarges it when tapped.
        hint = escape(self.say("enlarge"))
        return (
            f'<figure><div class="picture wide" tabindex="0">{svg}</div>'
            f'<figcaption data-hint="{hint}">{caption}</figcaption></figure>'
        )

    def table(self, run: Explanation, name: str) -> str:
        """How many nodes of each group ran."""
        keys = ("group", "planned", "measured", "in_graph")
        head = "".join(f'<th scope="col">{escape(self.say(key))}</th>' for key in keys)
        rows: List[str] = []
        total = [0, 0, 0]
        for title, counts in run.as_json()["groups"].items():
            numbers = [counts["planned"], counts["measured"], counts["nodes"]]
            total = [before + number for before, number in zip(total, numbers)]
            idle = ' class="idle"' if counts["measured"] == 0 else ""
            rows.append(f"<tr{idle}>{_cells(self.phrase(title), numbers)}</tr>")
        return (
            f'<div class="scroll"><table><caption>{escape(self.say(name))}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
            f"<tfoot><tr>{_cells(self.say('all'), total)}</tr></tfoot></table></div>"
        )


def _cells(title: str, numbers: Sequence[int]) -> str:
    return f"<td>{escape(title)}</td>" + "".join(f"<td>{number}</td>" for number in numbers)


def _inline(svg: str, prefix: str, label: str, phrase: Callable[[str], str]) -> str:
    """An SVG file's picture as an element of the page, its ids unlike other pictures'."""
    svg = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>", "", svg, flags=re.S)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{prefix}-", svg)
    svg = re.sub(r"(<text[^>]*>)([^<]*)", lambda m: m.group(1) + phrase(m.group(2)), svg)
    box = re.findall(r'viewBox="([^"]*)"', svg)[0]
    width = float(box.split()[2]) * 4 / 3  # as large as it was drawn: points to pixels
    opening = (
        f'<svg viewBox="{box}" role="img" aria-label="{escape(label)}" '
        f'style="max-width: {width:.0f}px">'
    )
    return opening + svg[svg.index(">") + 1 :]
