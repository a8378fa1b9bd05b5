"""The page in a real browser: what it shows for every choice is what `explain` finds.

A script at the end of the page ticks every set of fetches and feeds, as a reader would, and notes
what the page shows. Needs Chromium (Debian's package chromium).
"""

import html
import importlib.util
import itertools
import json
import pathlib
import re
import shutil
import subprocess
import tempfile

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tf1_mtl import build_graph
from tf1_mtl.baseline import load_golden
from tf1_mtl.teaching import explain
from tf1_mtl.teaching.diagram import diagram
from tf1_mtl.teaching.page import build, instrument, lessons

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("matplotlib") is None, reason="the plot extra is not installed"
    ),
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="Chromium is not installed: it comes from the system's packages, not from PyPI",
    ),
]

#: Ticks everything in turn. What is noted is read off the page, not asked of its script.
HARNESS = """
<script>
const text = (id) => document.getElementById(id).textContent;
const boxes = (id) => [...document.querySelectorAll(`#${id} input`)];
const fetches = boxes("try-fetches"), feeds = boxes("try-feeds"), noted = [];
function tick(list, bits) {
  list.forEach((box, number) => { if (box.checked !== Boolean(bits >> number & 1)) box.click(); });
}
function note() {
  const drawn = {};
  document.querySelectorAll('.try [id$="-title"]').forEach((title) => {
    const state = document.getElementById(title.id.replace("-title", "-state"));
    drawn[title.textContent.trim()] = [title.getAttribute("class"), state.textContent.trim()];
  });
  const rows = [...document.querySelectorAll("#try-rows tr")];
  noted.push({
    fetches: fetches.filter((box) => box.checked).map((box) => box.value),
    feeds: feeds.filter((box) => box.checked).map((box) => box.value),
    line: text("try-line"), nodes: text("try-nodes"), reads: text("try-reads"),
    writes: text("try-writes"), untouched: text("try-untouched"),
    counts: rows.map((row) => [...row.cells].slice(1).map((cell) => Number(cell.textContent))),
    errors: [...document.querySelectorAll("#try-status .error")].map((e) => e.textContent),
    warnings: [...document.querySelectorAll("#try-status .warning")].map((e) => e.textContent),
    status: text("try-status"), told: text("try-told"), drawn,
  });
}
const slider = document.getElementById("try-step");
for (let step = 0; step <= Number(slider.max); step++) {
  slider.value = step;
  slider.dispatchEvent(new Event("input"));
  note();
}
for (let bits = 0; bits < 1 << 10; bits++) {
  tick(fetches, bits >> 3);
  tick(feeds, bits & 7);
  note();
}
const parts = [...document.querySelectorAll("[data-script]")];
const hidden = parts.filter((part) => part.hidden).length;
const buttons = document.querySelectorAll(".listing > button.copy").length;
const result = document.createElement("pre");
result.id = "result";
result.textContent = JSON.stringify({ noted, hidden, buttons });
document.body.append(result);
</script>
</body>"""


def in_browser(path, *flags):
    """Return the page as Chromium has it after its scripts have run."""
    assert CHROMIUM is not None, "Chromium is not installed. Run: apt-get install chromium"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", *flags]
    # Browsers that run at the same time need a profile each.
    profile = tempfile.mkdtemp()
    command += [f"--user-data-dir={profile}", path.as_uri()]
    output = subprocess.check_output(command, stderr=subprocess.DEVNULL)
    shutil.rmtree(profile, ignore_errors=True)
    return output.decode("utf-8")


@pytest.fixture(scope="module")
def net():
    return build_graph(np.random.RandomState(2016))


@pytest.fixture(scope="module", params=["en", "zh"])
def shown(request, tmp_path_factory):
    """What the page shows: the ten steps, then every choice."""
    folder = tmp_path_factory.mktemp("page")
    build.write_page(str(folder), request.param)
    path = folder / f"lesson.{request.param}.html"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("</body>", HARNESS), encoding="utf-8")
    (result,) = re.findall(r'<pre id="result">(.*?)</pre>', in_browser(path), flags=re.S)
    result = json.loads(html.unescape(result))
    return request.param, result["noted"][:10], result["noted"][10:], result


def split(names):
    return () if names in ("none", "无") else tuple(names.split(", "))


def subsets(names):
    return [s for size in range(len(names) + 1) for s in itertools.combinations(names, size)]


@pytest.fixture(scope="module")
def explained(net):
    """What `explain` finds for all sets of fetches and feeds."""
    return {
        (fetches, feeds): explain(fetches, feeds=feeds, graph=net)
        for fetches in subsets(instrument.FETCHES)[1:]
        for feeds in subsets(instrument.FEEDS)
    }


def test_every_choice_is_answered_as_explain_answers_it(shown, explained, net):
    language, _, choices, _ = shown
    answered = {(tuple(page["fetches"]), tuple(page["feeds"])): page for page in choices}
    assert len(explained) == 127 * 8 and set(explained) < set(answered)
    for choice, run in explained.items():
        page = answered[choice]
        assert split(page["nodes"]) == run.planned
        assert run.measured in (None, run.planned)
        assert split(page["reads"]) == run.reads
        assert split(page["writes"]) == run.writes
        touched = {*run.reads, *run.writes}
        assert split(page["untouched"]) == tuple(v for v in run.variables if v not in touched)
        counts = [[c["planned"], c["nodes"]] for c in run.as_json()["groups"].values()]
        assert page["counts"] == [*counts, [len(run.planned), 216]]
        missing = [name for name in run.must_feed if name not in page["feeds"]]
        assert len(page["errors"]) == len(missing)
        assert (run.error is None) == (not missing)
        if missing:
            assert f"InvalidArgumentError: {run.error}" in page["errors"]
        assert len(page["warnings"]) == bool(run.unordered)
        for variable, writers in run.unordered.items():
            by = {"en": f"{variable} by {len(writers)} ", "zh": f"{variable} 由 {len(writers)} "}
            assert by[language] in page["warnings"][0]
        for box in diagram(net).boxes:
            assert set(page["drawn"][box.title][0].split()) == {box.kind, *state_of(box, run)}


def state_of(box, run):
    """Return how a box should be drawn."""
    if box.kind == "placeholder":
        needed = box.nodes[0] in run.must_feed
        return ("on" if box.nodes[0] in run.feeds else "missing",) if needed else ()
    if box.kind == "variable" and box.nodes[0] in run.writes:
        return ("on", "written")
    return () if set(box.nodes).isdisjoint(run.planned) else ("on",)


def test_without_fetches_nothing_runs(shown):
    _, _, choices, _ = shown
    nothing = [page for page in choices if not page["fetches"]]
    assert len(nothing) == 8
    for page in nothing:
        assert page["line"] == "" and split(page["nodes"]) == () and not page["errors"]
        assert not any("on" in drawn[0].split() for drawn in page["drawn"].values())


def test_a_box_says_in_words_what_happens(shown):
    language, _, choices, _ = shown
    (page,) = [p for p in choices if p["fetches"] == ["Y1_op"] and p["feeds"] == ["X", "Y2"]]
    words = {
        "en": [
            "fed",
            "must be fed",
            "fed, not needed",
            "to be written",
            "not touched",
            "not run: L2Loss",
        ],
        "zh": ["已喂入", "必须喂入", "已喂入，但不需要", "本应被写入", "未触及", "未运行：L2Loss"],
    }
    titles = ("X", "Y1", "Y2", "share_W", "share_Y2", "Y1_Loss")
    assert [page["drawn"][title][1] for title in titles] == words[language]


def test_the_call_runs_when_it_is_pasted_below_a_listing(shown):
    """In section 2 to 4, in an open session; it fails with the error that the page shows."""
    _, _, choices, _ = shown
    names = lessons.run_lesson("2_shared_layer", 2016).names
    with tf.Session(graph=names["graph"]) as session:
        session.run(names["init"])
        for page in choices[9::37]:
            if not page["fetches"]:
                continue
            if page["errors"]:
                with pytest.raises(tf.errors.InvalidArgumentError) as raised:
                    eval(page["line"], {**names, "session": session})
                told = [error.partition(": ")[2] for error in page["errors"]]
                assert any(error in str(raised.value) for error in told)
            else:
                assert len(eval(page["line"], {**names, "session": session})) >= 1


def test_the_slider_takes_the_recorded_steps(shown):
    _, steps, _, _ = shown
    recorded = load_golden("alternate").runs
    assert len(steps) == len(recorded) == 10
    for number, (page, run) in enumerate(zip(steps, recorded), 1):
        assert page["fetches"] == [f"{run.task}_op", f"{run.task}_Loss"]
        assert page["feeds"] == ["X", "Y1", "Y2"]
        (loss,) = [str(value) for value in run.fetched.values() if value is not None]
        for told in (str(number), run.task, loss, "share_W 200"):
            assert told in page["told"]
        other = {"Y1": "share_Y2", "Y2": "share_Y1"}[run.task]
        assert f"{other} 0" in page["told"] and other in split(page["untouched"])


def test_every_listing_has_a_copy_button_and_no_part_stays_hidden(shown):
    *_, result = shown
    assert result["hidden"] == 0
    assert result["buttons"] == 4 + len(lessons.claims()) + 2  # the call, `tf1-mtl compare`


@pytest.mark.parametrize("language", ["en", "zh"])
def test_without_scripts_the_page_is_all_there_but_for_the_instrument(language, tmp_path):
    path = pathlib.Path(build.write_page(str(tmp_path), language))
    text = path.read_text(encoding="utf-8")
    assert text.count("<script>") == 1
    path.write_text(text.replace("<script>", '<script type="text/plain">'), encoding="utf-8")
    shown = in_browser(path)
    assert '<section id="try" data-script="" hidden="">' in shown
    assert '<li data-script="" hidden="">' in shown
    assert "<button" not in re.sub(r"<script.*?</script>", "", shown, flags=re.S)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_screen(language, width, tmp_path):
    """Code, tables and pictures scroll within their own places; code keeps its indentation."""
    build.write_page(str(tmp_path), language)
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"""<iframe src="lesson.{language}.html" style="width: {width}px; height: 800px"></iframe>
        <script>onload = () => {{
          const page = document.querySelector("iframe").contentDocument;
          const code = page.querySelector(".listing pre");
          document.title = [page.documentElement.scrollWidth <= {width},
            page.defaultView.getComputedStyle(code).whiteSpace].join(" ");
        }}</script>"""
    )
    assert "<title>true pre</title>" in in_browser(frame, "--allow-file-access-from-files")
