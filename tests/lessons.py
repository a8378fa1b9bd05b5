"""Runs a lesson, and checks each of its sentences.

A *fact* is (lesson, words, check). The lesson has these words, and the check, a function of the
`Lesson`, would fail if they were false. `@says(LESSON, WORDS)` stands above the check. Sentences
that are not facts are listed as plain, so that no sentence can be added without a decision. A
changed sentence must keep the words of its check.
"""

import ast
import contextlib
import functools
import io
import pathlib
import re
import runpy
import sys
import tokenize

import tensorflow.compat.v1 as tf

from tf1_mtl.graph_reader import VARIABLES

FOLDER = pathlib.Path(__file__).parent.parent / "legacy_examples"
PATHS = sorted(FOLDER.glob("[0-9]*.py"), key=lambda path: int(path.name.split("_")[0]))
sys.path.append(str(FOLDER))  # for what the lessons import from beside them
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")


class Facts(list):
    """The facts of some lessons."""

    def says(self, number, words):
        def add(check):
            self.append((number, words, check))
            return check

        return add


class Lesson:
    """A lesson that has been run: its sentences, its output and the names it leaves behind."""

    def __init__(self, path):
        self.path, self.source = path, path.read_text(encoding="utf-8")
        self.sentences = sentences(self.source)
        self.sentences += re.findall(rf"^\d+\. \[`{path.name}`\]\S+: (.*)$", INDEX, flags=re.M)
        # TensorFlow 1 always has a default graph, and what a lesson leaves in it stays apart.
        outside, printed = tf.Graph(), io.StringIO()
        around = contextlib.nullcontext() if tf.executing_eagerly() else outside.as_default()
        with around, contextlib.redirect_stdout(printed):
            self.names = runpy.run_path(str(path), run_name="__main__")
        self.output, self.left_outside = printed.getvalue(), outside.get_operations()

    def __getattr__(self, name):
        return self.names[name]

    def line(self, start):
        return next(line for line in self.output.splitlines() if line.strip().startswith(start))

    def floats(self, start):
        return [float(x) for x in re.findall(r"-?\d+\.\d+(?:e[+-]?\d+)?", self.line(start))]


@functools.lru_cache(maxsize=None)
def lesson(number):
    (path,) = FOLDER.glob(f"{number}_*.py")
    return Lesson(path)


def sentences(source):
    """Returns every sentence of the docstrings and comments, in order, with the titles of cells."""
    blocks, last = [], None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        text, row = token.string, token.start[0]
        if token.type == tokenize.COMMENT:
            own_line = token.line.lstrip().startswith("#")
            if own_line and last == row - 1 and not text.startswith("# %%"):
                blocks[-1] += text[1:]
            else:
                blocks.append(re.sub(r"^# (%% )?", "", text))
            last = row if own_line and not text.startswith("# %%") else None
        elif token.type == tokenize.STRING and text.startswith('"""'):
            blocks += ast.literal_eval(text).split("\n\n")
    joined = [" ".join(block.split()) for block in blocks]
    return [one for block in joined for one in re.split(r"(?<=[.?]) (?=[A-Z`])", block)]


def holds(number, words, check):
    """The lesson has these words, and they are true."""
    told = lesson(number)
    assert words.lower() in " ".join([*told.sentences, told.output]).lower()
    check(told)


def it_runs_on_both_with_no_global_switch(told):
    """Eager mode is unchanged, and every variable is of a kind that both versions have."""
    assert tf.executing_eagerly() == (not tf.__version__.startswith("1."))
    assert told.left_outside == []
    assert "use_resource=False" in told.source
    ops = told.graph.get_operations()
    assert {op.type for op in ops if op.type in VARIABLES} == {"VariableV2"}


def without_check(number, facts, plain):
    """Returns the sentences of the lesson that are neither facts nor plain."""
    told = [words.lower() for of, words, _ in facts if of == number]
    return [
        sentence
        for sentence in lesson(number).sentences
        if not any(words in sentence.lower() for words in told)
        and not any(sentence.startswith(start) for start in (*plain, "Run it: "))
    ]


def names(facts):
    """Returns a name for the test of each fact."""
    return [f"{of}-{check.__name__}-{number}" for number, (of, _, check) in enumerate(facts)]
