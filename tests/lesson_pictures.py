"""Pictures of the graphs of lessons 10 and 11, from the placeholders to the outputs of each task.

python -m tests.lesson_pictures    draws them into legacy_examples/figures
"""

import pathlib
import sys
from typing import Any, Dict, NamedTuple, Tuple

from tf1_mtl.teaching import figures

FOLDER = pathlib.Path(__file__).parent.parent / "legacy_examples"
sys.path.append(str(FOLDER))  # for what the lessons import from beside them


class Picture(NamedTuple):
    """What is drawn of a lesson."""

    lesson: str
    title: str
    ends_before: str  #: the first cell that is not needed to build the graph
    outputs: str  #: the variable of the lesson that holds the outputs, by task
    instead: Tuple[str, str] = ("", "")  #: what is changed in the lesson, for a small picture


PICTURES = {
    "words_to_tags.svg": Picture(
        "10_words_to_tags.py",
        "Words to tags: a recurrent layer in each direction, for sentences of two words",
        "# %% The baseline",
        "guess",
        ("LENGTH, UNITS, BATCH = 52, 12, 16, 13", "LENGTH, UNITS, BATCH = 52, 2, 16, 13"),
    ),
    "two_images.svg": Picture(
        "11_two_images.py",
        "Two images, one tower, three outputs",
        "# %% Train",
        "scores",
    ),
}


def draw(name: str, path: str) -> None:
    """Draws a picture. The lesson is run up to its graph, and not trained."""
    picture = PICTURES[name]
    source = (FOLDER / picture.lesson).read_text(encoding="utf-8")
    before, after = picture.instead
    if before:
        assert before in source
        source = source.replace(before, after)
    graph, end, _ = source.partition(picture.ends_before)
    assert end
    names: Dict[str, Any] = {"__file__": str(FOLDER / picture.lesson)}
    exec(compile(graph, picture.lesson, "exec"), names)
    outputs = list(names[picture.outputs].values())
    figures.draw(path, names["graph"], outputs, title=picture.title)


if __name__ == "__main__":
    for file in PICTURES:
        draw(file, str(FOLDER / "figures" / file))
