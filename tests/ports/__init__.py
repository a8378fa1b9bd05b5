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


def _both(
    framework: str,
    module: str,
    diagnosis: Tuple[str, ...],
    knob: str,
    function: str = "",
    recording: str = "",
) -> Tuple[PortFile, PortFile]:
    """Returns the ports with the defaults of a framework, and conformant."""
    return (
        PortFile(framework, "defaults", module, "Default" + function, diagnosis, "", recording),
        PortFile(framework, "conformant", module, "Conformant" + function, (), knob, recording),
    )


PORTS = (
    *_both("NumPy", "numpy_port", ("weights-float64",), "weights kept as `np.float32`"),
    *_both("TensorFlow 2, eager", "tensorflow2", ("epsilon",), "`Adam(epsilon=1e-8)`"),
    *_both(
        "TensorFlow 2, `tf.function`",
        "tensorflow2",
        ("epsilon",),
        "`Adam(epsilon=1e-8)`",
        function="Function",
    ),
    *_both(
        "Keras 3, two heads",
        "keras3",
        ("mean-over-outputs", "epsilon"),
        'a loss function of sum of squares / 2 for `"mse"`, `Adam(epsilon=1e-8)`',
    ),
    *_both(
        "PyTorch",
        "pytorch",
        ("epsilon-place",),
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
    *_both(
        "Keras 3, two images (lesson 11)",
        "keras3_two_images",
        ("loss-weight-in-the-sum", "epsilon"),
        "`loss_weights=(1, 1, 0.5)`, `Adam(epsilon=1e-8)`",
        recording=TWO_IMAGES,
    ),
)


def load(port: PortFile) -> Any:
    """Returns the class of a port. This imports its framework."""
    return getattr(importlib.import_module(f".{port.module}", __name__), port.name)


def checked(port: PortFile) -> Any:
    """Returns the report of a check of a port."""
    return check(load(port), goldens=[port.recording] if port.recording else None)


def verdict(report: Any) -> str:
    """Returns the words of a table for a report."""
    if report.passed:
        return "conformant" + (", with a note" if report.notes else "")
    found = " and ".join(f"`{name}`" for name in report.ids)
    return f"deviates: {found}" if found else "deviates"


def row(port: PortFile, report: Any) -> str:
    """Returns a row of the table in docs/checking.md."""
    knob = f"{port.knob} " if port.knob else ""
    return f"| {port.framework} | {port.kind} | {verdict(report)} | {knob}|"
