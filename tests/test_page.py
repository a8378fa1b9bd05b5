"""The page: every claim on it is measured, and could fail; two languages, each in one file."""

import contextlib
import importlib.util
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tf1_mtl import build_graph, cli, feeds, open_session, train
from tf1_mtl.teaching.first_graph import build_first_graph
from tf1_mtl.teaching.groups import structure
from tf1_mtl.teaching.page import build, claims
from tf1_mtl.teaching.page.claims import CLAIMS, Bench, ClaimError
from tf1_mtl.teaching.page.listings import NAMES, run_all
from tf1_mtl.teaching.page.texts import PHRASES, TEXTS
from tf1_mtl.walk import needed

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


def with_net(**handles):
    """Makes a bench's graph one for which a claim is false: handles taken from other places."""

    def sabotage(bench, monkeypatch):
        bench.net = bench.net._replace(**{k: make(bench.net) for k, make in handles.items()})

    return sabotage


def with_first_graph(change):
    def sabotage(bench, monkeypatch):
        changed = change(claims.build_first_graph())
        monkeypatch.setattr(claims, "build_first_graph", lambda: changed)

    return sabotage


def with_run(**changed):
    """Another account of task 1's step."""

    def sabotage(bench, monkeypatch):
        run = bench.explain("Y1_op", "Y1_Loss")
        bench.explained["Y1_op", "Y1_Loss"] = run._replace(**changed)

    return sabotage


def with_tensorflow(**changed):
    """A TensorFlow in which some names mean something else."""

    def sabotage(bench, monkeypatch):
        other = SimpleNamespace(Graph=tf.Graph, zeros=tf.zeros, int32=tf.int32)
        monkeypatch.setattr(claims, "tf", SimpleNamespace(**{**vars(other), **changed}))

    return sabotage


def with_everything_fed(bench, monkeypatch):
    bench.feed = lambda *names: Bench.feed(bench)


def with_a_session_that_takes_values(bench, monkeypatch):
    echo = SimpleNamespace(run=lambda fetches, feed: fetches)
    bench.session = lambda: contextlib.nullcontext(echo)


def with_a_package(bench, monkeypatch):
    monkeypatch.setitem(sys.modules, "Tensorflow", tf)


#: By claim, a world in which it is false.
SABOTAGE = {
    "building_computes_nothing": with_first_graph(
        lambda first: first._replace(Loss=np.zeros((10, 1)))
    ),
    "zero_weights_give_squares": with_first_graph(lambda first: first._replace(Loss=first.Y)),
    "the_graph_has_216_nodes": with_net(graph=lambda net: tf.Graph()),
    "variables_have_no_value_before_init": with_net(
        shared_layer_weights=lambda net: net.shared_layer_weights.initial_value
    ),
    "heads_are_not_shared": with_net(Y2_Loss=lambda net: net.Joint_Loss),
    "l2_loss_is_half_the_sum": with_net(Y1_Loss=lambda net: net.Joint_Loss),
    "one_task_runs_without_the_other": with_net(Y1_op=lambda net: net.Optimiser),
    "a_step_runs_without_the_other_label": with_net(Y1_op=lambda net: net.Optimiser),
    "planned_is_measured": with_run(planned=("X",)),
    "grappler_leaves_some_out": with_run(removed_by_optimizer=()),
    "the_other_head_keeps_its_bits": with_net(Y2_layer_weights=lambda net: net.Y1_layer_weights),
    "a_loss_is_from_before_its_step": with_net(Y1_op=lambda net: net.init),
    "the_joint_loss_is_the_sum": with_net(Joint_Loss=lambda net: net.Y1_Loss),
    "two_steps_in_one_run_are_not_the_joint_step": with_net(
        Y1_op=lambda net: net.Optimiser, Y2_op=lambda net: net.Optimiser
    ),
    "a_joint_step_trains_every_weight": with_net(Optimiser=lambda net: net.Y1_op),
    "each_adam_keeps_its_own": with_net(Y1_op=lambda net: net.Y2_op),
    "no_package_is_called_tensorflow_with_a_capital": with_a_package,
    "a_value_cannot_be_fetched": with_a_session_that_takes_values,
    "the_old_initializer_is_deprecated": with_tensorflow(
        initialize_all_variables=tf.global_variables_initializer
    ),
    "a_variable_of_sizes_is_two_integers": with_tensorflow(
        Variable=lambda sizes, use_resource: tf.zeros(sizes)
    ),
    "l2_loss_takes_one_tensor": with_tensorflow(
        nn=SimpleNamespace(l2_loss=lambda t, other: tf.nn.l2_loss(t))
    ),
}


def test_every_claim_has_a_world_in_which_it_is_false():
    assert set(SABOTAGE) == set(CLAIMS)


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_claim_fails_where_it_is_false(name, monkeypatch):
    sabotaged = Bench(0)
    SABOTAGE[name](sabotaged, monkeypatch)
    if name == "l2_loss_is_half_the_sum":
        with_everything_fed(sabotaged, monkeypatch)
    with pytest.raises((ClaimError, tf.errors.InvalidArgumentError)):
        CLAIMS[name](sabotaged)


def test_an_error_that_does_not_come_is_no_evidence():
    with pytest.raises(ClaimError, match=r"no .* was raised"):
        claims._error_of(ValueError, lambda: None)


# What leads from one claim to the next states facts about TensorFlow, too; here is their evidence


def the_first_graph_is_a_plan_that_a_session_carries_out(bench):
    first = build_first_graph()
    kinds = [op.type for op in needed([first.Loss])]
    assert kinds.count("MatMul") == kinds.count("Pow") == 1
    with tf.Session(graph=first.graph) as session:
        session.run(first.W.initializer, {first.W.initial_value: np.ones((10, 1))})
        feed = {first.X: np.ones((10, 10)), first.Y: np.ones((10, 1))}
        assert (session.run(first.Loss, feed) == 81).all()
        assert (session.run(first.W) == 1).all()  # it lasts; what was fed does not
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run(first.Loss)


def both_tasks_take_one_input_through_one_layer(bench):
    net = bench.net
    first, second = needed([net.Y1_Loss]), needed([net.Y2_Loss])
    shared = {"X", "share_W", net.shared_layer.op.name}
    assert shared <= {op.name for op in first & second}
    assert {op.type for op in first - second} == {op.type for op in second - first}
    assert {op.type for op in first - second} >= {"MatMul", "Relu", "L2Loss"}
    optimizers = structure(net.graph).optimizers
    assert [optimizer.name for optimizer in optimizers] == ["Adam", "Adam_1", "Adam_2"]


def one_run_trains_the_task_that_the_coin_gives(bench):
    op, loss = bench.net.Y1_op, bench.net.Y1_Loss
    with bench.session() as session:
        before = session.run(bench.net.shared_layer_weights)
        nothing, value = session.run([op, loss], bench.feed("X", "Y1"))
        assert nothing is None and value.shape == ()
        assert (session.run(bench.net.shared_layer_weights) != before).any()


def one_optimizer_minimizes_the_sum_and_needs_both_labels(bench):
    (joint, *_) = structure(bench.net.graph).optimizers
    assert joint.loss is bench.net.Joint_Loss.op and joint.name == bench.net.Optimiser.name
    assert bench.explain("Optimiser", "Joint_Loss").must_feed == ("X", "Y1", "Y2")


def the_two_other_optimizers_do_not_run(bench):
    groups = bench.explain("Optimiser", "Joint_Loss").as_json()["groups"]
    for name in ("optimizer Y1_op", "optimizer Y2_op"):
        assert groups[name]["nodes"] > 0 and groups[name]["measured"] == 0


def the_table_counts_every_node_once(bench):
    for fetches in (("Y1_op", "Y1_Loss"), ("Optimiser", "Joint_Loss")):
        run = bench.explain(*fetches)
        counts = run.as_json()["groups"].values()
        assert sum(count["nodes"] for count in counts) == 216
        assert sum(count["measured"] for count in counts) == len(run.measured)


LEADING = {
    "first_text": the_first_graph_is_a_plan_that_a_session_carries_out,
    "shared_text": both_tasks_take_one_input_through_one_layer,
    "alternate_text": one_run_trains_the_task_that_the_coin_gives,
    "alternate_table": the_table_counts_every_node_once,
    "joint_text": one_optimizer_minimizes_the_sum_and_needs_both_labels,
    "joint_figure": the_two_other_optimizers_do_not_run,
    "joint_table": the_table_counts_every_node_once,
}
#: About the page itself, or words without a verb.
NO_FACTS = {
    *("title", "lead", "how_to_read", "made_with", "contents", "code", "enlarge", "output"),
    *("first_figure", "shared_figure", "alternate_figure", "corrections_text", "choose_text"),
    *("group", "planned", "measured", "in_graph", "all"),
    *build.SECTIONS,
}


@pytest.mark.parametrize("key", LEADING)
def test_what_leads_to_the_claims_is_so(bench, key):
    LEADING[key](bench)


def test_every_text_is_a_claim_or_checked_or_states_no_fact():
    assert set(TEXTS) == {*CLAIMS, *LEADING, *NO_FACTS}
    assert not {*CLAIMS, *LEADING} & NO_FACTS


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
    if key in {*CLAIMS, *LEADING} and key != "no_package_is_called_tensorflow_with_a_capital":
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
    assert captured.out == "" and "cannot be written to" in captured.err
    assert (tmp_path / "file").read_text() == "here"


@needs_matplotlib
def test_the_command_prints_the_path(tmp_path, capsys):
    assert cli.main(["lesson", "-o", str(tmp_path), "--lang", "zh", "--seed", "3"]) == 0
    path = tmp_path / "lesson.zh.html"
    assert capsys.readouterr().out == f"{path}\n"
    assert "--lang zh --seed 3" in path.read_text(encoding="utf-8")
