"""The page: every claim on it is measured, and could fail; two languages, each in one file."""

import importlib.util
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tf1_mtl import build_graph, cli, feeds, open_session, train
from tf1_mtl.teaching.page import build, claims
from tf1_mtl.teaching.page.claims import CLAIMS, Bench, ClaimError
from tf1_mtl.teaching.page.listings import NAMES, run_all
from tf1_mtl.teaching.page.texts import PHRASES, TEXTS

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="the plot extra is not installed"
)
CHINESE = re.compile("[\u4e00-\u9fff]")
BLOCKS = [block for blocks in build.SECTIONS.values() for block in blocks]


@pytest.fixture(scope="module", params=[2016, 1])
def bench(request):
    return Bench(request.param)


# What the page says is so, and the measurement could say otherwise


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_holds(bench, name):
    assert CLAIMS[name](bench).strip()


SABOTAGE = {
    "the_graph_has_216_nodes": lambda net: {"graph": tf.Graph()},
    "heads_are_not_shared": lambda net: {"Y2_Loss": net.Joint_Loss},
    "l2_loss_is_half_the_sum": lambda net: {"Y1_Loss": net.Joint_Loss},
    "one_task_runs_without_the_other": lambda net: {"Y1_op": net.Optimiser},
    "the_other_head_keeps_its_bits": lambda net: {"Y2_layer_weights": net.Y1_layer_weights},
    "a_loss_is_from_before_its_step": lambda net: {"Y1_op": net.init},
    "the_joint_loss_is_the_sum": lambda net: {"Joint_Loss": net.Y1_Loss},
    "a_joint_step_trains_every_weight": lambda net: {"Optimiser": net.Y1_op},
    "two_steps_in_one_run_are_not_the_joint_step": lambda net: {
        "Y1_op": net.Optimiser,
        "Y2_op": net.Optimiser,
    },
    "each_adam_keeps_its_own": lambda net: {"Y1_op": net.Y2_op},
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_claim_fails_on_a_graph_for_which_it_is_false(name):
    sabotaged = Bench(0)
    sabotaged.net = sabotaged.net._replace(**SABOTAGE[name](sabotaged.net))
    if name == "l2_loss_is_half_the_sum":
        sabotaged.feed = lambda *names: Bench.feed(sabotaged)
    with pytest.raises(ClaimError):
        CLAIMS[name](sabotaged)


def test_an_error_that_does_not_come_is_no_evidence():
    with pytest.raises(ClaimError, match=r"no .* was raised"):
        claims._error_of(ValueError, lambda: None)


# The listings


@pytest.fixture(scope="module")
def ran():
    return run_all(2016)


def test_the_listings_print_what_the_commands_print(ran):
    """The very losses of `tf1-mtl alternate` and `tf1-mtl joint` with the same seed."""
    for listing, kind in (("ALTERNATE", "alternate"), ("JOINT", "joint")):
        rng = np.random.RandomState(2016)
        net = build_graph(rng)
        draw = feeds.article_draw(rng)
        batches = feeds.alternate(draw, rng) if kind == "alternate" else feeds.joint(draw)
        with open_session(net) as session:
            session.run(net.init)
            steps = list(train(net, session, batches))
        names = [f"{step.task} " if kind == "alternate" else "" for step in steps]
        expected = "".join(f"{name}{step.loss!s}\n" for name, step in zip(names, steps))
        assert ran[listing].output == expected


def test_the_listings_graph_is_the_articles(ran):
    names = {"seed": 0}
    exec(ran["FIRST"].code + ran["GRAPH"].code, names)
    ours, theirs = (
        [(op.name, op.type, [t.name for t in op.inputs]) for op in graph.get_operations()]
        for graph in (names["graph"], build_graph(np.random.RandomState(0)).graph)
    )
    assert ours == theirs


# Two languages


def test_every_block_has_its_words_and_every_claim_its_place():
    worded = [block for block in BLOCKS if block not in NAMES]
    assert set(worded) <= set(TEXTS)
    assert sorted(block for block in BLOCKS if block in CLAIMS) == sorted(CLAIMS)
    assert [block for block in BLOCKS if block in NAMES] == list(NAMES)
    assert all(section in TEXTS for section in build.SECTIONS)


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_say_it_with_the_same_names(key):
    english, chinese = TEXTS[key]
    assert not CHINESE.search(english) and CHINESE.search(chinese)
    assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", chinese))
    if key in CLAIMS and key != "no_package_is_called_tensorflow_with_a_capital":
        assert set(build._CODE.findall(english)) == set(build._CODE.findall(chinese))
        assert set(re.findall(r"\d+", english)) <= set(re.findall(r"\d+", chinese)) | {"10"}


# The file


class Outline(HTMLParser):
    """Every tag in order; raises if one closes that is not open."""

    VOID = ("meta", "br", "img", "path", "use")

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.svg_texts = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "text":
            self.svg_texts.append(data)


@pytest.fixture(scope="module", params=["en", "zh"])
def page(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "new"
    path = build.write_page(str(folder), request.param)
    assert [p.name for p in folder.iterdir()] == [f"lesson.{request.param}.html"]
    with open(path, encoding="utf-8") as file:
        html = file.read()
    return request.param, html, Outline(html)


@needs_matplotlib
def test_one_file_that_needs_nothing_else(page):
    language, html, outline = page
    assert outline.open == []
    names = [tag for tag, _ in outline.tags]
    assert "script" not in names and "link" not in names and "img" not in names
    assert not re.search(r"@import|url\((?!#)", html)
    for _, attributes in outline.tags:
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
    assert outline.tags[0] == ("html", {"lang": {"en": "en", "zh": "zh-Hans"}[language]})


@needs_matplotlib
def test_every_id_is_one_and_every_reference_finds_it(page):
    _, html, outline = page
    ids = [a["id"] for _, a in outline.tags if "id" in a]
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:href="|url\()#([\w-]+)', html)
    assert references and set(references) <= set(ids)


@needs_matplotlib
def test_it_holds_every_claim_with_its_evidence_and_every_output(page):
    _, html, outline = page
    assert [a["id"] for t, a in outline.tags if a.get("class") == "claim"] == [
        block for block in BLOCKS if block in CLAIMS
    ]
    bench = Bench(2016)
    for name in ("the_joint_loss_is_the_sum", "planned_is_measured"):
        assert build.escape(CLAIMS[name](bench)) in html
    for listing in run_all(2016).values():
        assert build.escape(listing.code) in html and build.escape(listing.output) in html
    assert f"TensorFlow {tf.__version__}" in html


@needs_matplotlib
def test_its_pictures_are_of_the_real_graph_in_the_pages_language(page):
    language, _, outline = page
    pictures = [attributes for tag, attributes in outline.tags if tag == "svg"]
    assert len(pictures) == 4 and all(p["aria-label"] for p in pictures)
    assert {"shared_layer", "Y1_op", "Optimiser", "share_W"} <= set(outline.svg_texts)
    changed = "CHANGED by this run" if language == "en" else "本次运行改变了它"
    assert outline.svg_texts.count(changed) == 2 + 3  # task 1's step, the joint step
    if language == "zh":
        left = [t for t in outline.svg_texts if re.search("[a-z] [a-z]", t)]
        assert left == [], "phrases that PHRASES does not translate"


@needs_matplotlib
def test_tables_speak_the_pages_language(page):
    language, html, _ = page
    cells = re.findall(r"<td>([^<]+)</td>", html)
    assert cells.count("216") == 2 and cells.count("47") >= 2
    if language == "zh":
        assert [c for c in cells if re.search("[a-z]{3} [a-z]{3}", c)] == []


@needs_matplotlib
def test_the_same_seed_gives_the_same_page(page, tmp_path):
    language, html, _ = page
    with open(build.write_page(str(tmp_path), language), encoding="utf-8") as file:
        assert file.read() == html


@needs_matplotlib
def test_a_false_sentence_stops_the_page(monkeypatch, tmp_path):
    def false(bench):
        raise ClaimError("not so")

    monkeypatch.setitem(CLAIMS, "l2_loss_takes_one_tensor", false)
    with pytest.raises(ClaimError):
        build.write_page(str(tmp_path), "en")
    assert list(tmp_path.iterdir()) == []


def test_phrases_are_whole():
    for pattern, translation in PHRASES:
        assert pattern.startswith("^") and pattern.endswith("$")
        assert CHINESE.search(translation)


# The command


def test_a_folder_that_cannot_be(tmp_path, capsys):
    (tmp_path / "file").write_text("here")
    assert cli.main(["lesson", "-o", str(tmp_path / "file")]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "cannot be written" in captured.err
    assert (tmp_path / "file").read_text() == "here"


@needs_matplotlib
def test_the_command_prints_the_path(tmp_path, capsys):
    assert cli.main(["lesson", "-o", str(tmp_path), "--lang", "zh", "--seed", "3"]) == 0
    path = tmp_path / "lesson.zh.html"
    assert capsys.readouterr().out == f"{path}\n"
    assert "--lang zh --seed 3" in path.read_text(encoding="utf-8")
