"""Every command and every Python example of the documents gives the output that they show.

In README.md, README.zh.md, CONTRIBUTING.md and docs/*.md:

- A ```console block holds commands behind "$ " and what they print, stderr first. It runs in a
  folder of its own, beside `tests` and `legacy_examples` of the checkout.
- A ```python block that begins with "# NAME.py" is written there as a file, for the examples below
  it. Another ```python block prints the ```text block that follows. Without one it must compile.
- Commands of a ```shell block are not run, but `tf1-mtl` must accept their arguments.

A line "..." replaces lines that are left out. Words must be the same, numbers nearly (the last
bits differ between CPUs). The version of TensorFlow, the device and the number of nodes of a
graph are those at hand.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from typing import NamedTuple, Tuple

import forked
import pytest
from sampling import slow, slow_everywhere

from tf1_mtl import cli

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGES = [
    *("README.md", "README.zh.md", "CONTRIBUTING.md"),
    *sorted(
        f"docs/{name}" for name in os.listdir(os.path.join(ROOT, "docs")) if name[-3:] == ".md"
    ),
]
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (\S+\.py)\n")
#: What is shown of them is not for this test: they install, or run this very suite.
NOT_RUN = ("pip ", "pytest", "nox ", "git ")


def text_of(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return file.read()


class Example(NamedTuple):
    """A block whose output is shown."""

    page: str
    number: int  #: of the block in the page
    parts: Tuple[Tuple[str, str], ...]  #: commands, or one piece of Python, each with its output
    files: Tuple[Tuple[str, str], ...]  #: written before, by name


def examples():
    """Yields every example of the documents once, though another page may show it too."""
    seen = set()
    for page in PAGES:
        blocks, files = BLOCK.findall(text_of(page)), {}
        for number, (language, text) in enumerate(blocks):
            following = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
            if language == "python" and FILE.match(text):
                files[FILE.match(text).group(1)] = text
            elif language == "python" and following[0] == "text":
                example = Example(page, number, ((text, following[1]),), tuple(files.items()))
            elif language == "console":
                parts = (p.partition("\n") for p in re.split(r"^\$ ", text, flags=re.M)[1:])
                ran = [(c.split(" && ")[-1], shown) for c, _, shown in parts]
                ran = [(c, shown) for c, shown in ran if not c.startswith(NOT_RUN)]
                example = Example(page, number, tuple(ran), tuple(files.items()))
            else:
                continue
            if example.parts and (example.parts, example.files) not in seen:
                seen.add((example.parts, example.files))
                yield example


EXAMPLES = list(examples())


def name_of(example):
    first = example.parts[0][0].splitlines()[0]
    return f"{example.page}: {first}"


def needs_servers(example):
    return any(" --cluster " in command for command, _ in example.parts)


def trains_long(example):
    """Returns whether it does, and tests of the same options are in the default run."""
    options = ("tf1-mtl reproduce", "tf1-mtl compare ", " --every ", " --logdir ", " --export ")
    return any(option in command for command, _ in example.parts for option in options)


def printed_by(command, shown):
    """What a command or a piece of Python prints."""
    out, err = io.StringIO(), io.StringIO()
    own = (" --script " in command, " --cluster " in command)
    if command.startswith(("tf1-mtl run ", "python ")) or any(own):
        # They change their process for good.
        ran = forked.python(*shlex.split(command.replace("tf1-mtl", "python -m tf1_mtl"))[1:])
        return ran.stderr + ran.stdout
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        if command.startswith("tf1-mtl "):
            args = shlex.split(command)[1:]
            seed = re.match(r"seed (\d+),", shown)
            if seed and "--seed" not in args:  # a run without a seed is shown, so repeat it
                args += ["--seed", seed.group(1)]
            cli.main(args)
        else:
            exec(compile(command, "example.py", "exec"), {"__name__": "example"})
    return err.getvalue() + out.getvalue()


def assert_same(printed, shown):
    """The output is as shown, apart from the lines that "..." replaces."""
    for at_hand in (r"TensorFlow \d\S*", r"device:[CG]PU:0", r"graph of \d+ nodes"):
        printed, shown = (re.sub(at_hand, "", text) for text in (printed, shown))
    numbers = [float(number) for number in NUMBER.findall(printed)]
    words, place = " ".join(NUMBER.sub("#", printed).split()), 0
    parts = re.split(r"^\s*\.\.\.$", shown, flags=re.M)
    for index, part in enumerate(parts):
        expected = " ".join(NUMBER.sub("#", part).split())
        if index == len(parts) - 1 and expected:  # nothing is left out at the end
            found = len(words) - len(expected)
            assert words[max(found, place) :] == expected
        elif index == 0:
            found = 0
            assert words[: len(expected)] == expected
        else:
            found = words.find(expected, place)
            assert found >= 0, f"not printed: {part}"
        first = words[:found].count("#")
        place = found + len(expected)
        obtained = numbers[first : first + expected.count("#")]
        assert obtained == pytest.approx(
            [float(number) for number in NUMBER.findall(part)], rel=2e-4
        )


#: It checks two ports against every golden, as the README and tests/test_check.py do.
TWO_CHECKS = "docs/checking.md: from tf1_mtl.baseline import Reference, check"


@pytest.mark.parametrize(
    "example",
    [
        slow(e)
        if name_of(e) == TWO_CHECKS or needs_servers(e)
        else slow_everywhere(e)
        if trains_long(e) or (name_of(e).startswith("docs/"))
        else e
        for e in EXAMPLES
    ],
    ids=map(name_of, EXAMPLES),
)
def test_the_output_shown_is_the_output(example, tmp_path, monkeypatch, request):
    if needs_servers(example):
        request.getfixturevalue("namespaces")
        pytest.importorskip("tensorflow", minversion="2.21")  # others send more constants
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for folder in ("tests", "legacy_examples"):
        (tmp_path / folder).symlink_to(os.path.join(ROOT, folder))
    for name, text in example.files:
        (tmp_path / name).write_text(text, encoding="utf-8")
    for command, shown in example.parts:
        assert_same(printed_by(command, shown), shown)


@pytest.mark.parametrize("page", PAGES)
def test_other_examples_are_valid(page):
    for language, text in BLOCK.findall(text_of(page)):
        if language == "python":
            compile(text, page, "exec")
        for line in text.splitlines() if language == "shell" else ():
            words = shlex.split(line, comments=True)
            if words[:1] == ["tf1-mtl"] and ">" not in words:
                cli._parsed(words[1:])


def test_the_first_screen_has_both_commands():
    for page in ("README.md", "README.zh.md"):
        console = [text for language, text in BLOCK.findall(text_of(page)) if language == "console"]
        assert console[0].startswith("$ pip install . && tf1-mtl reproduce\n")
        assert console[1] == "$ pip install '.[test]' && pytest\n"


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_a_readme_is_short(page):
    lines = text_of(page).splitlines()
    assert len(lines) <= 160
    assert max(map(len, lines)) <= 120
    doors = ("tf1-mtl reproduce", "tf1-mtl run", "tf1-mtl explain", "tf1-mtl check")
    assert all(door in "\n".join(lines[:20]) for door in doors)
    other = {"README.md": "README.zh.md", "README.zh.md": "README.md"}[page]
    assert f"({other})" in lines[0]


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_are_there(page):
    text = text_of(page)
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if not target.startswith("http"):
            path = os.path.join(ROOT, os.path.dirname(page), target)
            assert os.path.exists(path), target


@pytest.mark.parametrize("repository", ["", "https://example.org/us/it"])
def test_a_package_index_shows_every_link_and_picture(repository):
    pytest.importorskip("setuptools")
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "setup.py", "--quiet", "--long-description"],
        cwd=ROOT,
        env={**os.environ, "TF1_MTL_REPOSITORY": repository},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode("utf-8")
    targets = re.findall(r"\]\(([^)]+)\)", shown) + re.findall(r'src="([^"]+)"', shown)
    targets += re.findall(r"^\[\w+\]: (\S+)", shown, flags=re.M)
    assert targets and all(target.startswith("http") for target in targets)
    figure = f"{repository}/raw/HEAD/legacy_examples/figures/run_of_task_1.svg"
    assert (figure in targets) == bool(repository)
    assert ("<img" in shown) == bool(repository)
    assert "![" not in shown
    assert "Checking a port" in shown


def test_every_document_is_one_link_away():
    linked = re.findall(r"\]\((docs/[^)#]+)", text_of("README.md"))
    assert set(linked) >= {page for page in PAGES if page.startswith("docs/")}


def test_the_comparison_sees_a_difference():
    assert_same("loss 1.000001 TensorFlow 1.15.5", "loss 1.0 TensorFlow 2.21.0")
    assert_same("a 1\nb 2\nc 3\n", "a 1\n...\nc 3\n")
    assert_same("a 1\nb 2\nc 3\n", "a 1\n...\n")
    for wrong in ("loss 1.001", "loos 1.0", "loss 1.0 2.0", "loss"):
        with pytest.raises(AssertionError):
            assert_same(wrong, "loss 1.0")
    for wrong in ("a 1\nc 4", "b 1\nc 3", "a 1\nd 3", "a 1\nc 3\nd 4", "c 3"):
        with pytest.raises(AssertionError):
            assert_same(wrong, "a 1\n...\nc 3\n")
