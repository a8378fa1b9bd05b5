"""The newer ports, run for real, and what the check says of each."""

import importlib.util

import pytest
from ports import PORTS, checked, verdict

#: The extra `ports` is installed as a whole or not at all.
EXTRA = ("torch", "jax", "optax", "keras")
MISSING = [name for name in EXTRA if importlib.util.find_spec(name) is None]


@pytest.mark.parametrize("port", PORTS, ids=lambda port: f"{port.framework}, {port.kind}")
def test_verdict(port):
    if MISSING and port.module != "numpy_port":
        pytest.skip(f"no {', '.join(MISSING)}: pip install 'tf1-mtl[ports]'")
    report = checked(port)
    assert not report.broke, report
    assert report.passed == (port.kind == "conformant"), report
    assert report.ids == port.diagnosis, report
    assert verdict(report).startswith("conformant" if report.passed else "deviates")


def test_every_port_exists_twice():
    kinds = {}
    for port in PORTS:
        kinds.setdefault((port.module, port.framework.split(",")[0]), set()).add(port.kind)
    assert all(found == {"conformant", "defaults"} for found in kinds.values())
    assert all(port.knob for port in PORTS if port.kind == "conformant")
