"""Holds newer ports of the model of the article, as small examples of how to write one.

Each exists twice: with the defaults of its framework, and conformant, with the settings for it.
`python -m tests.ports` checks all and prints the verdicts. The extra `ports` installs what they
need.
"""

import importlib
import os
from typing import Any, NamedTuple, Tuple

from tf1_mtl.baseline import check


class PortFile(NamedTuple):
    """One port, where it is and what the check should say."""

    framework: str
    kind: str  #: "defaults" or "conformant"
    module: str
    name: str
    diagnosis: Tuple[str, ...]  #: identifiers; none for a conformant port
    knob: str = ""
    recording: str = ""  #: in place of the goldens of the article


#: The first steps of lesson 11 on TensorFlow 1.15.5, recorded by `tf1-mtl run --record FILE
#: --record-limit 1 legacy_examples/11_two_images.py`.
TWO_IMAGES = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    *("truth", "scripts-1.15.5", "two_images.npz"),
)
_MEAN_AND_EPSILON = ("mean-over-outputs", "epsilon")

PORTS = (
    PortFile("NumPy", "defaults", "numpy_port", "Default", ("weights-float64",)),
    PortFile("NumPy", "conformant", "numpy_port", "Conformant", (), "weights kept as `np.float32`"),
    PortFile("TensorFlow 2, eager", "defaults", "tensorflow2", "Default", ("epsilon",)),
    PortFile(
        "TensorFlow 2, eager", "conformant", "tensorflow2", "Conformant", (), "`Adam(epsilon=1e-8)`"
    ),
    PortFile(
        "TensorFlow 2, `tf.function`",
        "defaults",
        "tensorflow2",
        "DefaultFunction",
        ("epsilon",),
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
    PortFile("PyTorch", "defaults", "pytorch", "Default", ("epsilon-place",)),
    PortFile(
        "PyTorch",
        "conformant",
        "pytorch",
        "Conformant",
        (),
        "`eps = 1e-8 / sqrt(1 - beta2 ** t)`, set before step t",
    ),
    PortFile("JAX, optax", "defaults", "jax_port", "Default", ("epsilon-place",)),
    PortFile(
        "JAX, by hand",
        "conformant",
        "jax_port",
        "Conformant",
        (),
        "epsilon added to the uncorrected square root",
    ),
    PortFile(
        "Keras 3, two images (lesson 11)",
        "defaults",
        "keras3_two_images",
        "Default",
        ("loss-weight-in-the-sum", "epsilon"),
        recording=TWO_IMAGES,
    ),
    PortFile(
        "Keras 3, two images (lesson 11)",
        "conformant",
        "keras3_two_images",
        "Conformant",
        (),
        "`loss_weights=(1, 1, 0.5)`, `Adam(epsilon=1e-8)`",
        recording=TWO_IMAGES,
    ),
)


def load(port: PortFile) -> Any:
    """Return the class of a port. This imports its framework."""
    return getattr(importlib.import_module(f".{port.module}", __name__), port.name)


def checked(port: PortFile) -> Any:
    """Return the report of a check of a port."""
    return check(load(port), goldens=[port.recording] if port.recording else None)


def verdict(report: Any) -> str:
    """Return the words of a table for a report."""
    if report.passed:
        return "conformant" + (", with a note" if report.notes else "")
    found = " and ".join(f"`{name}`" for name in report.ids)
    return f"deviates: {found}" if found else "deviates"


def row(port: PortFile, report: Any) -> str:
    """Return a row of the table in docs/checking.md."""
    knob = f"{port.knob} " if port.knob else ""
    return f"| {port.framework} | {port.kind} | {verdict(report)} | {knob}|"
