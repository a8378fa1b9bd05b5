"""The test suite on every supported TensorFlow, and real old runtimes for recording truth.

    nox -f .ci/noxfile.py -s tests                          all of them
    nox -f .ci/noxfile.py -s "tests(1.15.5)" -- -k graph    one; pytest's own arguments follow --
    nox -f .ci/noxfile.py -s "witness(1.0.1)" -- script.py  a script under a real TensorFlow 1.x

Needs nox and uv. Interpreters are taken from pyenv or PATH; one that is missing skips its
versions with a warning, and fails them where CI is set.
"""

import os
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent.parent
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))

# TensorFlow: its Python, and the pins without which importing a fresh install fails or warns.
SUPPORTED = {
    "1.13.2": ("3.7", "protobuf<3.21", "numpy<1.17"),
    "1.14.0": ("3.7", "protobuf<3.21", "numpy<1.17"),
    "1.15.5": ("3.7", "protobuf<3.21"),
    "2.0.0": ("3.7", "protobuf<3.21"),
    "2.2.0": ("3.8", "protobuf<3.21", "numpy<1.24"),
    "2.3.4": ("3.8", "protobuf<3.21"),
    "2.6.5": ("3.9",),
    "2.9.3": ("3.10", "numpy<2"),
    "2.12.1": ("3.10",),
    "2.15.1": ("3.11",),
    "2.16.2": ("3.12",),
    "2.18.1": ("3.12",),
    "2.21.0": ("3.11",),
    "2.22.0rc0": ("3.13",),
}
# Real TensorFlow 1.x, pinned to the last package in tests/oracle/requirements-<version>.txt.
WITNESSES = {"0.12.1": "3.6", "1.0.1": "3.6", "1.10.0": "3.6", "1.15.5": "3.7"}

nox.options.sessions = ["tests"]


def interpreter(version: str) -> str:
    """Return pyenv's pythonX.Y (its shims answer for active versions only), else what PATH has."""
    found = sorted(PYENV.glob(f"versions/{version}.*/bin/python{version}"))
    return str(found[-1]) if found else version


@nox.session(venv_backend="uv")
@nox.parametrize(
    "python,tensorflow,pins",
    [
        nox.param(interpreter(python), tensorflow, pins, id=tensorflow)
        for tensorflow, (python, *pins) in SUPPORTED.items()
    ],
)
def tests(session: nox.Session, tensorflow: str, pins: "list[str]") -> None:
    """Install the project with its test extra beside one TensorFlow, and run every test."""
    session.chdir(ROOT)
    # setuptools packs whatever an earlier build left here, modules deleted since included.
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    session.install(".[test]", f"tensorflow=={tensorflow}", *pins)
    session.run("pytest", "-m", "", "--dist", "worksteal", *session.posargs)


@nox.session(venv_backend="uv", python=interpreter("3.11"))
def legacy(session: nox.Session) -> None:
    """Run the legacy scripts with the extra that continues tf.contrib and Keras 2."""
    session.chdir(ROOT)
    session.install(".[test,legacy]", "tensorflow==2.21.0")
    session.run(
        "pytest", "tests/test_legacy_names.py", "tests/test_legacy_script.py", *session.posargs
    )


@nox.session(venv_backend="venv")  # uv and virtualenv have left Python 3.6 behind
@nox.parametrize(
    "python,tensorflow",
    [
        nox.param(interpreter(python), tensorflow, id=tensorflow)
        for tensorflow, python in WITNESSES.items()
    ],
)
def witness(session: nox.Session, tensorflow: str) -> None:
    """Run what follows -- (a script, or -m module) under a real TensorFlow 1.x."""
    if not session.posargs:
        session.error("Name what to run after --: a script's path from the checkout's root.")
    session.chdir(ROOT)
    # The last pip for Python 3.6; the one bundled with it does not know the newer wheel formats.
    session.install("pip==21.3.1")
    session.install("-r", f"tests/oracle/requirements-{tensorflow}.txt")
    session.run("python", *session.posargs)
