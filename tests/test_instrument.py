"""The page in a real browser: what it shows for every choice is what `explain` finds.

A script at the end of the page ticks every set of fetches and feeds, as a reader would, and notes
what the page shows. Needs Chromium (package chromium on Debian).
"""

import html
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from needs import needs_matplotlib

from tf1_mtl import build_graph
from tf1_mtl.baseline import load_golden
from tf1_mtl.teaching import explain
from tf1_mtl.teaching.diagram import diagram
from tf1_mtl.teaching.page import build, instrument, lessons

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
NO_CHROMIUM = "Chromium is not installed: it comes from the system's packages, not from PyPI"
pytestmark = [
    pytest.mark.slow,
    needs_matplotlib,
    pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM),
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
for (let step = 1; step <= Number(slider.max); step++) {
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
    """Returns the page as Chromium has it after its scripts have run."""
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
    """What `explain` finds for one fetch, two or all, and for all sets of feeds."""
    return {
        (fetches, feeds): explain(fetches, feeds=feeds, graph=net)
        for fetches in subsets(instrument.FETCHES)
        if len(fetches) in (1, 2, len(instrument.FETCHES))
        for feeds in subsets(instrument.FEEDS)
    }


def test_every_choice_is_answered_as_explain_answers_it(shown, explained, net):
    language, _, choices, _ = shown
    answered = {(tuple(page["fetches"]), tuple(page["feeds"])): page for page in choices}
    assert len(explained) == (7 + 21 + 1) * 8 and set(explained) < set(answered)
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
    """Returns how a box should be drawn."""
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
        "X": ("fed", "已喂入"),
        "Y1": ("must be fed", "必须喂入"),
        "Y2": ("fed, not needed", "已喂入，但不需要"),
        "share_W": ("to be written", "本应被写入"),
        "share_Y2": ("not touched", "未触及"),
        "Y1_Loss": ("not run: L2Loss", "未运行：L2Loss"),
    }
    for title, in_both in words.items():
        assert page["drawn"][title][1] == in_both[language == "zh"]


def test_the_call_runs_when_it_is_pasted_below_a_listing(shown):
    """In sections 2 to 4, with an open session. A run that fails raises the error of the page."""
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
    """Code, tables and pictures scroll within their own places. Code keeps its indentation."""
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


class Browser:
    """Chromium, driven through its DevTools protocol over a pair of pipes."""

    def __init__(self, profile):
        from_here, self.to_chromium = os.pipe()
        self.from_chromium, to_here = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        command = ["bash", "-c", f'exec "$@" 3<&{from_here} 4>&{to_here}', "bash", CHROMIUM]
        self.process = subprocess.Popen(
            [*command, *flags, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(from_here, to_here),
            stderr=subprocess.DEVNULL,
        )
        os.close(from_here)
        os.close(to_here)
        self.answers, self.session, self.sent = b"", {}, 0
        pages = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self.session = {"sessionId": attached["sessionId"]}

    def call(self, method, **parameters):
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters, **self.session}
        os.write(self.to_chromium, json.dumps(message).encode() + b"\0")
        while True:  # events stand between the answers
            while b"\0" not in self.answers:
                self.answers += os.read(self.from_chromium, 1 << 16)
            first, _, self.answers = self.answers.partition(b"\0")
            answer = json.loads(first.decode())
            if answer.get("id") == self.sent:
                return answer["result"]

    def run(self, script):
        """Returns the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition):
        for _ in range(100):
            if self.run(condition):
                return
            time.sleep(0.1)
        raise AssertionError(f"not within ten seconds: {condition}")

    def open(self, path, width):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=800, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete' && !!document.querySelector('button.copy')")

    def press(self, key, code, text=""):
        down = "keyDown" if text else "rawKeyDown"
        for kind, typed in ((down, text), ("keyUp", "")):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind, key=key, windowsVirtualKeyCode=code, text=typed,
            )  # fmt: skip

    def tree(self):
        """Returns what a screen reader is given: (role, name, description, properties)."""
        nodes = []
        for node in self.call("Accessibility.getFullAXTree")["nodes"]:
            if not node["ignored"]:
                role, name, description = (
                    node.get(key, {}).get("value", "") for key in ("role", "name", "description")
                )
                properties = {p["name"]: p["value"].get("value") for p in node["properties"]}
                nodes.append((role, name, description, properties))
        return nodes

    def close(self):
        os.close(self.to_chromium)  # Chromium ends with its pipe
        self.process.wait()
        os.close(self.from_chromium)


TAB, RIGHT, HOME = ("Tab", 9), ("ArrowRight", 39), ("Home", 36)
ENTER, SPACE = ("Enter", 13, "\r"), (" ", 32, " ")


@pytest.fixture(scope="module", params=["en", "zh"])
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return pathlib.Path(build.write_page(str(folder), request.param))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.mark.parametrize("width", [390, 1200])
def test_tab_goes_to_every_control_in_order_and_shows_where_it_is(browser, written, width):
    browser.open(written, width)
    browser.run(
        """controls = [...document.querySelectorAll("a, button, summary, input, [tabindex]")]
             .filter((control) => control.checkVisibility());"""
    )
    count = browser.run("controls.length")
    assert count > 50
    for number in range(count):
        browser.press(*TAB)
        reached, style, thickness = browser.run(
            """[controls.indexOf(document.activeElement),
                getComputedStyle(document.activeElement).outlineStyle,
                parseFloat(getComputedStyle(document.activeElement).outlineWidth)]"""
        )
        assert (reached, style) == (number, "solid") and thickness >= 2
    browser.press(*TAB)
    assert browser.run("controls.indexOf(document.activeElement)") < 1  # it went round


def test_the_keyboard_works_every_control(browser, written):
    browser.open(written, 1200)
    status, told = (
        f"document.getElementById('try-{part}').textContent" for part in ("status", "told")
    )
    before = browser.run(status)
    browser.run("document.querySelector('#try-feeds input').focus()")
    browser.press(*ENTER)
    assert browser.run(status) == before  # Enter does not send the form
    browser.press(*SPACE)
    assert "InvalidArgumentError" in browser.run(status)
    browser.press(*SPACE)
    assert browser.run(status) == before

    hint = browser.run(told)
    browser.run("document.getElementById('try-step').focus()")
    recorded = load_golden("alternate").runs
    for run in recorded[:2]:
        browser.press(*RIGHT)
        (loss,) = [str(value) for value in run.fetched.values() if value is not None]
        assert loss in browser.run(told)
    browser.press(*HOME)
    assert browser.run(told) == hint

    browser.run("document.querySelector('.copy').focus()")
    browser.press(*ENTER)
    browser.wait("!!document.querySelector('.spoken').textContent")
    assert browser.run("document.activeElement.textContent") in ("Copied", "已复制")

    browser.run("document.querySelector('summary').focus()")
    browser.press(*SPACE)
    assert browser.run("document.querySelector('details').open")


def test_a_screen_reader_is_given_names_values_and_results(browser, written):
    browser.open(written, 1200)
    tree = browser.tree()
    for role, name, _, properties in tree:
        if properties.get("focusable") and role != "generic":  # a wide listing is its own text
            assert name, role
    by_role = {}
    for role, name, description, properties in tree:
        by_role.setdefault(role, []).append((name, description, properties))
    ticked = [name for name, _, p in by_role["checkbox"] if p["checked"] == "true"]
    assert [name for name, *_ in by_role["checkbox"]] == [*instrument.FETCHES, *instrument.FEEDS]
    assert ticked == ["Y1_op", "Y1_Loss", "X", "Y1"]
    ((name, _, properties),) = by_role["slider"]
    value = browser.run("document.getElementById('try-step').getAttribute('aria-valuetext')")
    assert "1.15.5" in name and properties["valuetext"]
    assert value == browser.run("document.getElementById('try-told').textContent")
    assert len(by_role["status"]) == 2
    assert all(properties["live"] == "polite" for *_, properties in by_role["status"])
    assert len(by_role["rowheader"]) == 3 * 13
    assert any(": tf1-mtl compare" in name for name, *_ in by_role["button"])
    assert len(by_role["image"]) == 5
    assert all("share_W" in d or "W → Neg" in d for _, d, _ in by_role["image"])

    # The description of the drawing follows its boxes.
    words = {"en": "Y1, placeholder [10, 20], must be fed", "zh": "Y1, 占位符 [10, 20], 必须喂入"}
    expected = words[written.name.split(".")[1]]

    caption = browser.run("document.getElementById('try-caption').textContent")

    def described():
        (description,) = [
            d for role, name, d, _ in browser.tree() if (role, name) == ("image", caption)
        ]
        return description

    assert expected not in described()
    browser.run("document.querySelector('#try-feeds [value=Y1]').click()")
    assert expected in described()


#: Returns [contrast, text] of every text of the page, by the formula of WCAG.
CONTRASTS = """(() => {
  const linear = (c) => c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4;
  const bright = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const colour = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a]; };
  const over = (front, back) => back.map((c, i) => front[i] * front[3] + c * (1 - front[3]));
  const behind = (element) => {
    const own = colour(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3)
      : over(own, element.parentElement ? behind(element.parentElement) : [255, 255, 255]);
  };
  document.querySelectorAll("details").forEach((part) => { part.open = true; });
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim(), element = texts.currentNode.parentElement;
    if (!text || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), part = element.closest("svg [id*=box]");
    const shape = part && document.getElementById(part.id.replace(/-[a-z0-9]+$/, "-shape"));
    const back = shape ? colour(getComputedStyle(shape.querySelector("path")).fill).slice(0, 3)
      : behind(element);
    const front = colour(element.closest("svg") ? style.fill : style.color);
    for (let e = element; e; e = e.parentElement) front[3] *= getComputedStyle(e).opacity;
    const [light, dark] = [bright(over(front, back)), bright(back)].sort((a, b) => b - a);
    found.push([(light + 0.05) / (dark + 0.05), text]);
  }
  return found;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(browser, written, scheme):
    """At least 4.5 to 1, as level AA of WCAG 2 requires, with all fed and with nothing fed."""
    browser.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    browser.open(written, 1200)
    paper = {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 27)"}[scheme]
    assert browser.run("getComputedStyle(document.body).backgroundColor") == paper
    for _ in range(2):
        contrasts = browser.run(CONTRASTS)
        assert len(contrasts) > 400 and min(contrasts)[0] >= 4.5, min(contrasts)
        browser.run("document.querySelectorAll('#try-feeds :checked').forEach((b) => b.click())")
