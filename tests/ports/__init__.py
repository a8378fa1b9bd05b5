"""Newer ports of the article's model: real, small, and examples of how to write one.

Each exists twice: as its framework's defaults make it, and conformant, with the knob that did it.
`python -m tests.ports` checks all and prints the verdicts; the extra `ports` installs what they
need.
"""

import importlib
from typing import Any, NamedTuple, Tuple


class PortFile(NamedTuple):
    """One port, where it is and what the check should say."""

    framework: str
    kind: str  #: "defaults" or "conformant"
    module: str
    name: str
    diagnosis: Tuple[str, ...]  #: identifiers; none for a conformant port
    knob: str = ""


_MEAN_AND_EPSILON = ("mean-over-all", "adam-epsilon-1e-7")

PORTS = (
    PortFile("NumPy", "defaults", "numpy_port", "Default", ("weights-float64",)),
    PortFile("NumPy", "conformant", "numpy_port", "Conformant", (), "weights kept as `np.float32`"),
    PortFile("TensorFlow 2, eager", "defaults", "tensorflow2", "Default", ("adam-epsilon-1e-7",)),
    PortFile(
        "TensorFlow 2, eager", "conformant", "tensorflow2", "Conformant", (), "`Adam(epsilon=1e-8)`"
    ),
    PortFile(
        "TensorFlow 2, `tf.function`",
        "defaults",
        "tensorflow2",
        "DefaultFunction",
        ("adam-epsilon-1e-7",),
    ),
    PortFile(
        "TensorFlow 2, `tf.function`",
        "conformant",
        "tensorflow2",
        "ConformantFunction",
        (),
        "`Adam(epsilon=1e-8)`",
    ),
    PortFile("Keras 3, two heads", "defaults", "keras3", "Default", _MEAN_AND_EPSILON),
    PortFile(
        "Keras 3, two heads",
        "conformant",
        "keras3",
        "Conformant",
        (),
        'a loss function of sum of squares / 2 for `"mse"`, `Adam(epsilon=1e-8)`',
    ),
    PortFile("PyTorch", "defaults", "pytorch", "Default", ("adam-epsilon-outside",)),
    PortFile(
        "PyTorch",
        "conformant",
        "pytorch",
        "Conformant",
        (),
        "`eps = 1e-8 / sqrt(1 - beta2 ** t)`, set before step t",
    ),
    PortFile("JAX, optax", "defaults", "jax_port", "Default", ("adam-epsilon-outside",)),
    PortFile(
        "JAX, by hand",
        "conformant",
        "jax_port",
        "Conformant",
        (),
        "epsilon added to the uncorrected square root",
    ),
)


def load(port: PortFile) -> Any:
    """The port's class; imports its framework."""
    return getattr(importlib.import_module(f".{port.module}", __name__), port.name)


def verdict(report: Any) -> str:
    """A report in a table's cell."""
    if report.passed:
        return "conformant" + (", with a note" if report.notes else "")
    return "deviates: " + " and ".join(f"`{name}`" for name in report.ids)
