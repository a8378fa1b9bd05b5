"""The newer ports run, and their verdicts are those of docs/checking.md."""

import importlib.util
import pathlib

import pytest
from ports import PORTS, checked, row

pytestmark = pytest.mark.usefixtures("patient")

DOCS = pathlib.Path(__file__).parent.parent / "docs"
#: The extra `ports` is installed as a whole or not at all.
EXTRA = ("torch", "jax", "optax", "keras")
MISSING = [name for name in EXTRA if importlib.util.find_spec(name) is None]


@pytest.mark.slow
@pytest.mark.parametrize("port", PORTS, ids=[f"{port.framework}, {port.kind}" for port in PORTS])
def test_verdict(port):
    if MISSING and port.module != "numpy_port":
        pytest.skip(f"no {', '.join(MISSING)}: pip install 'tf1-mtl[ports]'")
    report = checked(port)
    assert not report.broke, report
    assert report.passed == (port.kind == "conformant"), report
    assert report.ids == port.diagnosis, report
    assert row(port, report) in (DOCS / "checking.md").read_text(encoding="utf-8").splitlines()


def test_every_port_exists_twice():
    kinds = {}
    for port in PORTS:
        kinds.setdefault((port.module, port.framework.split(",")[0]), set()).add(port.kind)
    assert all(found == {"conformant", "defaults"} for found in kinds.values())
    assert all(port.knob for port in PORTS if port.kind == "conformant")
