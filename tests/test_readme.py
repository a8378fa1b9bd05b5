"""Every command and every Python example that the README shows gives the output it shows.

A ```console block holds commands behind "$ " and what they print, stderr first; a ```python block
is followed by a ```text block with what it prints; a last "..." leaves the rest out. Words must be
the same, numbers nearly (the last bits differ between CPUs); TensorFlow's version and the device
are those at hand.
"""

import contextlib
import io
import os
import re
import shlex

import pytest

from tf1_mtl import cli

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as _file:
    BLOCKS = BLOCK.findall(_file.read())


def examples():
    """(command, expected output) of every console block, and (code, output) of Python blocks."""
    for index, (language, text) in enumerate(BLOCKS):
        if language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield command, output
        elif language == "python":
            following, output = BLOCKS[index + 1]
            assert following == "text", f"no output is shown for:\n{text}"
            yield text, output


def run(example, shown):
    """What the example prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        if example.startswith("tf1-mtl "):
            args = shlex.split(example)[1:]
            seed = re.match(r"seed (\d+),", shown)
            if seed and "--seed" not in args:  # shown is a run without a seed; have it again
                args += ["--seed", seed.group(1)]
            cli.main(args)
        else:
            exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    return err.getvalue() + out.getvalue()


def same(printed, shown):
    if shown.endswith("...\n"):
        kept = shown.splitlines()[:-1]
        printed, shown = "\n".join(printed.splitlines()[: len(kept)]), "\n".join(kept)
    for at_hand in (r"TensorFlow \d\S*", r"device:[CG]PU:0"):
        printed, shown = (re.sub(at_hand, "", text) for text in (printed, shown))
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (printed, shown)]
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (printed, shown)]
    assert words[0] == words[1]
    assert numbers[0] == pytest.approx(numbers[1], rel=2e-4)


COMMANDS = [
    (command.replace("pip install . && ", ""), output)
    for command, output in examples()
    if not command.endswith("pytest")
]


@pytest.mark.parametrize(
    ("example", "shown"), COMMANDS, ids=[example.splitlines()[0] for example, _ in COMMANDS]
)
def test_the_output_shown_is_the_output(example, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    same(run(example, shown), shown)


def test_the_first_screen_has_both_commands():
    commands = [command for command, _ in examples()]
    assert commands[:2] == [
        "pip install . && tf1-mtl reproduce",
        "pip install '.[test]' && pytest",
    ]


def test_links_and_pictures_are_there():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    targets = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if not target.startswith("http"):
            assert os.path.exists(os.path.join(ROOT, target)), target


def test_the_comparison_sees_a_difference():
    same("loss 1.000001 TensorFlow 1.15.5", "loss 1.0 TensorFlow 2.21.0")
    for wrong in ("loss 1.001", "loos 1.0", "loss 1.0 2.0", "loss"):
        with pytest.raises(AssertionError):
            same(wrong, "loss 1.0")
