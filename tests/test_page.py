"""The page: every claim on it is measured, and could fail. Each language is one file."""

import contextlib
import html
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import types
import webbrowser
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import assert_holds, done, refused
from needs import needs_matplotlib
from sampling import slow, slow_everywhere

from tf1_mtl import build_graph, cli, feeds, open_session, teaching, train
from tf1_mtl.graph_reader import needed, structure
from tf1_mtl.teaching import explain
from tf1_mtl.teaching.chinese import PHRASES
from tf1_mtl.teaching.first_graph import build_first_graph
from tf1_mtl.teaching.page import build, instrument, lessons
from tf1_mtl.teaching.page.lessons import ClaimError

ROOT = Path(__file__).parent.parent
CHINESE = re.compile("[\u4e00-\u9fff]")
LANGUAGES = ("en", "zh")
TEMPLATES = {
    language: (Path(build.__file__).parent / f"lesson.{language}.html").read_text(encoding="utf-8")
    for language in LANGUAGES
}
CLAIMS = lessons.claims()


def above(claim):
    """Returns the name of the lesson above a claim on the page."""
    before = TEMPLATES["en"].partition("{{evidence " + claim + "}}")[0]
    return re.findall(r"{{listing (\w+)", before)[-1]


@pytest.fixture(scope="module", params=[2016, slow_everywhere(1)])
def ran(request):
    """The lessons on the page, run with a seed, by name."""
    names = re.findall(r"{{listing (\w+)", TEMPLATES["en"])
    return {name: lessons.run_lesson(name, request.param) for name in names}


# The claims of the page are true, and a measurement could show that they are false


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_holds(ran, claim):
    assert all(code.strip() for code, _ in lessons.evidence(claim, ran[above(claim)].names))


def named(**changed):
    """Replaces names of the listing, so that a claim becomes false."""
    return lambda names, monkeypatch: names.update(
        {name: make(types.SimpleNamespace(**names)) for name, make in changed.items()}
    )


def explained(**changed):
    """Replaces the result of `explain`, so that a claim becomes false."""

    def sabotage(names, monkeypatch):
        monkeypatch.setattr(
            teaching, "explain", lambda *args, **kw: explain(*args, **kw)._replace(**changed)
        )

    return sabotage


def with_tensorflow(**changed):
    """Replaces names of TensorFlow, so that a claim becomes false."""
    other = dict(Graph=tf.Graph, zeros=tf.zeros, **changed)
    return named(tf=lambda names: types.SimpleNamespace(**other))


def twice(tensor):
    with tensor.graph.as_default():
        return 2 * tensor


def echo(graph):
    """A session that takes values for fetches."""
    return types.SimpleNamespace(run=lambda fetches, feed=None: feed and fetches)


def with_a_package(names, monkeypatch):
    monkeypatch.setitem(sys.modules, "Tensorflow", tf)


#: By claim, a world in which it is false.
SABOTAGE = {
    "building_computes_nothing": named(Loss=lambda names: np.zeros((10, 1))),
    "zero_weights_give_squares": named(Model_Loss=lambda names: names.y.astype("float32")),
    "the_graph_has_216_nodes": named(graph=lambda names: tf.Graph()),
    "variables_have_no_value_before_init": named(
        shared_layer_weights=lambda names: names.shared_layer_weights.initial_value
    ),
    "heads_are_not_shared": named(Y2_Loss=lambda names: names.Joint_Loss),
    "l2_loss_is_half_the_sum": named(Y1_Loss=lambda names: twice(names.Y1_Loss)),
    "one_task_runs_without_the_other": named(Y1_op=lambda names: names.Optimiser),
    "a_step_runs_without_the_other_label": named(Y1_op=lambda names: names.Optimiser),
    "planned_is_measured": explained(planned=("X",)),
    "grappler_leaves_some_out": explained(removed_by_optimizer=()),
    "the_other_head_keeps_its_bits": named(Y2_layer_weights=lambda names: names.Y1_layer_weights),
    "a_loss_is_from_before_its_step": named(Y1_op=lambda names: names.init),
    "the_joint_loss_is_the_sum": named(joint_value=lambda names: names.Y1_value),
    "two_steps_in_one_run_are_not_the_joint_step": named(
        Y1_op=lambda names: names.Optimiser, Y2_op=lambda names: names.Optimiser
    ),
    "a_joint_step_trains_every_weight": named(Optimiser=lambda names: names.Y1_op),
    "each_adam_keeps_its_own": named(Y1_op=lambda names: names.Y2_op),
    "no_package_is_called_tensorflow_with_a_capital": with_a_package,
    "a_value_cannot_be_fetched": with_tensorflow(Session=echo),
    "the_old_initializer_is_deprecated": with_tensorflow(
        initialize_all_variables=tf.global_variables_initializer
    ),
    "a_variable_of_sizes_is_two_integers": with_tensorflow(
        Variable=lambda sizes, use_resource: tf.zeros(sizes)
    ),
    "l2_loss_takes_one_tensor": with_tensorflow(
        nn=types.SimpleNamespace(l2_loss=lambda t, name: tf.nn.l2_loss(t))
    ),
}


def test_every_claim_has_a_world_in_which_it_is_false():
    assert set(SABOTAGE) == set(CLAIMS)


@pytest.mark.parametrize("claim", SABOTAGE)
def test_a_claim_fails_where_it_is_false(ran, claim, monkeypatch):
    names = dict(ran[above(claim)].names)
    SABOTAGE[claim](names, monkeypatch)
    with pytest.raises(ClaimError, match=claim):
        lessons.evidence(claim, names)


def test_evidence_leaves_the_names_as_they_are(ran):
    names = ran["2_shared_layer"].names
    before = dict(names)
    lessons.evidence("l2_loss_is_half_the_sum", names)
    assert names == before


# The text between the claims states facts about TensorFlow, too. Here is their evidence


@pytest.fixture(scope="module")
def net():
    return build_graph(np.random.RandomState(2016))


def feed_of(net, *names):
    batch = feeds.article_draw(np.random.RandomState(0))("joint")
    return {getattr(net, name): getattr(batch, name) for name in names}


def the_first_graph_is_a_plan_that_a_session_carries_out(net):
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


def both_tasks_take_one_input_through_one_layer(net):
    first, second = needed([net.Y1_Loss]), needed([net.Y2_Loss])
    shared = {"X", "share_W", net.shared_layer.op.name}
    assert shared <= {op.name for op in first & second}
    assert {op.type for op in first - second} == {op.type for op in second - first}
    assert {op.type for op in first - second} >= {"MatMul", "Relu", "L2Loss"}
    optimizers = structure(net.graph).optimizers
    assert [optimizer.name for optimizer in optimizers] == ["Adam", "Adam_1", "Adam_2"]


def one_run_trains_the_task_that_the_coin_gives(net):
    with open_session(net) as session:
        session.run(net.init)
        before = session.run(net.shared_layer_weights)
        nothing, value = session.run([net.Y1_op, net.Y1_Loss], feed_of(net, "X", "Y1"))
        assert nothing is None and value.shape == ()
        assert (session.run(net.shared_layer_weights) != before).any()


def one_optimizer_minimizes_the_sum_and_needs_both_labels(net):
    (joint, *_) = structure(net.graph).optimizers
    assert joint.loss is net.Joint_Loss.op and joint.name == net.Optimiser.name
    assert explain(["Optimiser", "Joint_Loss"], graph=net).must_feed == ("X", "Y1", "Y2")


def the_two_other_optimizers_do_not_run(net):
    groups = explain(["Optimiser", "Joint_Loss"], graph=net).as_json()["groups"]
    for name in ("optimizer Y1_op", "optimizer Y2_op"):
        assert groups[name]["nodes"] > 0 and groups[name]["measured"] == 0


def the_table_counts_every_node_once(net):
    for fetches in (("Y1_op", "Y1_Loss"), ("Optimiser", "Joint_Loss")):
        run = explain(fetches, graph=net)
        counts = run.as_json()["groups"].values()
        assert sum(count["nodes"] for count in counts) == 216
        assert sum(count["measured"] for count in counts) == len(run.measured)


#: In English these are docstrings of lessons, which tests/test_lessons.py checks.
LEADING = {
    "first-text": the_first_graph_is_a_plan_that_a_session_carries_out,
    "shared-text": both_tasks_take_one_input_through_one_layer,
    "alternate-text": one_run_trains_the_task_that_the_coin_gives,
    "alternate-table": the_table_counts_every_node_once,
    "joint-text": one_optimizer_minimizes_the_sum_and_needs_both_labels,
    "joint-caption": the_two_other_optimizers_do_not_run,
    "joint-table": the_table_counts_every_node_once,
}
#: About the page itself, or words without a verb.
NO_FACTS = {
    *("lead", "how-to-read", "made-with", "corrections-text", "choose-text"),
    *("first-caption", "shared-caption", "alternate-caption", "try-caption"),
    # The instrument; tests/test_instrument.py compares it with `explain`.
    *("try-text", "try-line-label", "try-step-label", "try-told", "try-table", "try-nodes"),
}


@pytest.mark.parametrize("key", LEADING)
def test_what_leads_to_the_claims_is_so(net, key):
    LEADING[key](net)


@pytest.mark.slow
@pytest.mark.runtime
def test_the_script_of_the_page_plans_runs_as_explain_does(net):
    """Eight choices, without a browser. tests/test_instrument.py compares every choice."""
    racer = pytest.importorskip("py_mini_racer", reason="the test extra is not installed")
    engine = racer.MiniRacer()
    known = instrument.data(net, "en")
    engine.eval((Path(build.__file__).parent / "walk.js").read_text(encoding="utf-8"))
    engine.eval(f"const graph = {json.dumps(known)}")
    engine.eval(
        """function answer(fetches, fed) {
          const { runs, reads, writers, unordered, unfed } = plan(graph, fetches, new Set(fed));
          const names = (numbers) =>
            [...numbers].sort((a, b) => a - b).map((number) => graph.nodes[number].name);
          return [...[runs, reads, writers.keys(), unordered.keys()].map(names), unfed];
        }"""
    )
    rng, unfed, unordered = np.random.RandomState(0), 0, 0
    for number in range(8):
        fetches = rng.choice(instrument.FETCHES, 1 + number % 7, replace=False).tolist()
        feeds = rng.choice(instrument.FEEDS, rng.randint(4), replace=False).tolist()
        fetched = [known["fetches"][name] for name in fetches]
        found = engine.call("answer", fetched, [known["feeds"][name] for name in feeds])
        run = explain(fetches, feeds=feeds, graph=net)
        missing = [name for name in run.must_feed if name not in feeds]
        explained = [run.planned, run.reads, run.writes, tuple(run.unordered), missing]
        assert found == [list(names) for names in explained]
        unfed, unordered = unfed + bool(missing), unordered + bool(run.unordered)
    assert 8 > unfed > 0 and 8 > unordered > 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_a_claim_or_checked_or_states_no_fact(language):
    template = TEMPLATES[language]
    assert re.findall(r'<div class="claim" id="(\w+)"><p>', template) == list(CLAIMS)
    assert re.findall(r"{{evidence (\w+)}}", template) == list(CLAIMS)
    others = re.sub(r'<div class="claim".*?</p>', "", template, flags=re.S)
    texts = re.findall(r'<(?:p|\w*caption)(?: class="\w+")?(?: id="([\w-]+)")?>', others)
    assert set(texts) <= {*LEADING, *NO_FACTS}
    assert len(texts) == len(set(texts))
    if language == "zh":
        assert set(texts) == {*LEADING, *NO_FACTS}


# The listings


def test_the_listings_are_the_lessons_with_another_seed(ran):
    for name, listing in ran.items():
        source = (ROOT / "legacy_examples" / f"{name}.py").read_text(encoding="utf-8")
        source = source.replace("import quiet_tensorflow\n", "")
        source, code = (re.sub(r"(RandomState)\(\d+\)", r"\1", t) for t in (source, listing.code))
        assert source.endswith(code)


def test_the_listings_print_what_the_commands_print():
    """The very losses of `tf1-mtl alternate` and `tf1-mtl joint` with the same seed."""
    for listing, kind in (("3_alternate_training", "alternate"), ("4_joint_training", "joint")):
        rng = np.random.RandomState(2016)
        net = build_graph(rng)
        draw = feeds.article_draw(rng)
        batches = feeds.alternate(draw, rng) if kind == "alternate" else feeds.joint(draw, 3)
        with open_session(net) as session:
            session.run(net.init)
            steps = list(train(net, session, batches))
        printed = lessons.run_lesson(listing, 2016).output.splitlines()
        assert len(printed) == len(steps) == {"alternate": 10, "joint": 3}[kind]
        for line, step in zip(printed, steps):
            number, task, loss = line.split()[:3]
            assert (int(number), task) == (step.step, step.task)
            assert np.float32(loss) == step.loss


# Two languages


def texts_of(language):
    """Returns the texts of a template by their id."""
    found = re.findall(
        r'<(p|\w*caption|div)(?: class="\w+")? id="([\w-]+)">(.*?)</(?:p|\w*caption)>',
        TEMPLATES[language],
        flags=re.S,
    )
    return {key: text for _, key, text in found}


def test_both_languages_have_the_same_parts():
    directives = [
        re.sub(r" \| .*?}}", "}}", "".join(re.findall(r"{{(?!about)\w+ [^}]*}}", TEMPLATES[lang])))
        for lang in LANGUAGES
    ]
    assert directives[0] == directives[1]
    for pattern in (r'<section id="\w+">', r'<a href="#\w+">', r"<th ", r"<td>"):
        assert len({tuple(re.findall(pattern, TEMPLATES[lang])) for lang in LANGUAGES}) == 1


@pytest.mark.parametrize("key", [*CLAIMS, *LEADING])
def test_both_languages_say_it_with_the_same_names(key):
    english, chinese = (texts_of(language).get(key, "") for language in LANGUAGES)
    assert CHINESE.search(chinese) and not CHINESE.search(english)
    if english and key != "no_package_is_called_tensorflow_with_a_capital":
        code = [set(re.findall(r"<code>(.*?)</code>", t, flags=re.S)) for t in (english, chinese)]
        assert {" ".join(c.split()) for c in code[0]} == {" ".join(c.split()) for c in code[1]}
        assert set(re.findall(r"\d+", english)) <= set(re.findall(r"\d+", chinese)) | {"10"}


def test_phrases_are_whole():
    assert all(CHINESE.search(translation) for _, translation in PHRASES)


# The file


class Outline(HTMLParser):
    """Collects every tag in order. Raises an error if one closes that is not open."""

    VOID = ("meta", "br", "img", "input", "path", "use")

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


#: What the command is given for a page.
ARGUMENTS = {"en": ("--lang", "en"), "zh": ("--lang", "zh", "--seed", "3")}


@pytest.fixture(scope="module", params=["en", slow("zh")])
def page(request, tmp_path_factory):
    pytest.importorskip("matplotlib", reason="the plot extra is not installed")
    folder = tmp_path_factory.mktemp("page") / "new"
    path, printed = folder / f"lesson.{request.param}.html", io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main(["lesson", "-o", str(folder), *ARGUMENTS[request.param]]) == 0
    assert printed.getvalue() == f"{path}\n"
    assert [p.name for p in folder.iterdir()] == [f"lesson.{request.param}.html"]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return request.param, text, Outline(text)


def test_one_file_that_needs_nothing_else(page):
    language, text, outline = page
    assert outline.open == []
    names = [tag for tag, _ in outline.tags]
    assert "link" not in names and "img" not in names
    for tag, attributes in outline.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
    assert not re.search(r"@import|url\((?!#)", text)
    for _, attributes in outline.tags:
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
    assert outline.tags[0] == ("html", {"lang": {"en": "en", "zh": "zh-Hans"}[language]})


def test_every_id_is_one_and_every_reference_finds_it(page):
    _, text, outline = page
    ids = [a["id"] for _, a in outline.tags if "id" in a]
    assert len(ids) == len(set(ids))
    references = re.findall(r'(?:href="|url\()#([\w-]+)', text)
    assert references and set(references) <= set(ids)


class Listings(HTMLParser):
    """Collects the code of each listing as it is copied, and its output."""

    def __init__(self, text):
        super().__init__()
        self.codes, self.outputs, self.inside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if dict(attributes).get("class") == "listing":
            self.codes.append("")
            self.outputs.append("")
            self.inside = ["div"]
        elif self.inside:
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside:
            assert self.inside.pop() == tag

    def handle_data(self, data):
        if "samp" in self.inside:
            self.outputs[-1] += data
        elif "pre" in self.inside:
            self.codes[-1] += data


@pytest.mark.slow
def test_every_listing_runs_when_it_is_pasted(page, tmp_path):
    """Each listing runs alone, in a new Python."""
    _, text, _ = page
    printed = [html.unescape(o) for o in re.findall(r'<pre class="output">(.*?)</pre>', text, re.S)]
    found = Listings(text)
    numbers = [number for number, code in enumerate(found.codes) if code.startswith("import numpy")]
    assert len(numbers) == len(printed) == 4
    for number, output in zip(numbers, printed):
        script = tmp_path / "pasted.py"
        script.write_text(found.codes[number], encoding="utf-8")
        ran = subprocess.check_output([sys.executable, str(script)], stderr=subprocess.DEVNULL)
        assert ran.decode() == output


@pytest.mark.slow
@pytest.mark.runtime
def test_evidence_runs_when_it_is_pasted_below_its_listing(page):
    _, text, _ = page
    names, checked = {}, 0
    found = Listings(text)
    for code, output in zip(found.codes, found.outputs):
        if code.startswith("import numpy"):
            names = {}
            exec(code, names)
        elif output and "raises " not in output:
            exec(code, dict(names))
            checked += 1
    assert checked == len(CLAIMS) - sum("raises" in evidence for evidence in CLAIMS.values())


def test_it_holds_every_claim_with_its_evidence_and_every_output(page):
    _, text, outline = page
    assert [a["id"] for t, a in outline.tags if a.get("class") == "claim"] == list(CLAIMS)
    shown = "".join(Listings(text).outputs)
    assert_holds(shown, "(216, 23, 3)", "planned 71 measured 71 True", "{'share_W': False")
    assert f"TensorFlow {tf.__version__}" in text


def test_its_pictures_are_of_the_real_graph_in_the_pages_language(page):
    language, text, outline = page
    pictures = [attributes for _, attributes in outline.tags if attributes.get("role") == "img"]
    assert len(pictures) == sum(tag == "svg" for tag, _ in outline.tags) == 5
    ids = {attributes.get("id") for _, attributes in outline.tags}
    for attribute in ("aria-labelledby", "aria-describedby"):
        assert {picture[attribute] for picture in pictures} <= ids
    words = dict(re.findall(r'<desc id="([a-z]+)-described">([^<]*)</desc>', text))
    assert list(words) == ["first", "shared", "alternate", "joint", "try"]
    assert "shared_layer, share_Y1 → Y1_layer, MatMul → Relu, [10, 20]; " in words["shared"]
    assert ",," not in str(words)
    assert {"shared_layer", "Y1_op", "Optimiser", "share_W"} <= set(outline.svg_texts)
    changed = "CHANGED by this run" if language == "en" else "本次运行改变了它"
    assert outline.svg_texts.count(changed) == 2 + 3  # the step of task 1, the joint step
    if language == "zh":
        left = [t for t in outline.svg_texts if re.search("[a-z] [a-z]", t)]
        assert left == [], "phrases that PHRASES does not translate"


def test_tables_speak_the_pages_language(page):
    language, text, _ = page
    cells = re.findall(r'<t[dh](?: scope="row")?>([^<]+)</t[dh]>', text)
    assert cells.count("216") == 2 and cells.count("47") >= 2
    if language == "zh":
        assert [c for c in cells if re.search("[a-z]{3} [a-z]{3}", c)] == []


@pytest.mark.slow
@pytest.mark.runtime
def test_the_same_seed_gives_the_same_page(page, tmp_path):
    language, text, _ = page
    seed = {"en": 2016, "zh": 3}[language]
    assert f"--lang {language} --seed {seed}" in text
    with open(build.write_page(str(tmp_path), language, seed), encoding="utf-8") as file:
        assert file.read() == text


@needs_matplotlib
def test_a_false_sentence_stops_the_page(monkeypatch, tmp_path):
    false = {**CLAIMS, next(iter(CLAIMS)): "    >>> 1 + 1\n    3\n"}
    monkeypatch.setattr(lessons, "claims", lambda: false)
    with pytest.raises(ClaimError):
        build.write_page(str(tmp_path), "en")
    assert list(tmp_path.iterdir()) == []


@needs_matplotlib
@pytest.mark.slow
def test_an_installed_package_writes_the_page(tmp_path):
    """It has the lessons, the words and the style without a checkout."""
    pytest.importorskip("setuptools")
    build_py = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "lib")]
    subprocess.run(build_py, cwd=str(ROOT), check=True)
    write = [sys.executable, "-m", "tf1_mtl", "lesson", "-o", str(tmp_path)]
    outside = {**os.environ, "PYTHONPATH": str(tmp_path / "lib")}
    subprocess.run(write, cwd=str(tmp_path), env=outside, check=True)
    assert (tmp_path / "lesson.en.html").exists()


# The command


def test_a_folder_that_cannot_be(tmp_path, capsys):
    (tmp_path / "file").write_text("here")
    assert "cannot be written to" in refused(capsys, "lesson", "-o", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "here"


@needs_matplotlib
def test_the_command_opens_the_page(tmp_path, capsys, monkeypatch):
    def write_page(folder, *_):
        path = Path(folder) / "lesson.en.html"
        path.touch()
        return str(path)

    monkeypatch.setattr(build, "write_page", write_page)
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = Path(done(capsys, "lesson", "--open").strip())
    assert tmp_path in path.parents and path.exists()
    assert opened == [path.resolve().as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    assert cli.main(["lesson", "--open", "-o", str(tmp_path)]) == 2
    assert f"no web browser was found. Open {tmp_path}" in capsys.readouterr().err


def test_the_command_needs_a_folder_or_a_browser(capsys):
    assert "Give -o DIR, or --open." in refused(capsys, "lesson")
