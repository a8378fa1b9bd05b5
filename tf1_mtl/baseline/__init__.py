"""The regression baseline for newer ports: recorded truth, a reference, a check.

    from tf1_mtl.baseline import check

NumPy alone is needed, except by `recording`, which watches a TensorFlow process. The names below
are loaded on first use.
"""

import importlib
from typing import Any, List

_HOME = {
    "Reference": "tf1_mtl.baseline.reference",
    "Report": "tf1_mtl.baseline.checking",
    "Recording": "tf1_mtl.baseline.recordings",
    "Run": "tf1_mtl.baseline.recordings",
    "Session": "tf1_mtl.baseline.recordings",
    "cases_of": "tf1_mtl.baseline.case",
    "check": "tf1_mtl.baseline.checking",
    "check_case": "tf1_mtl.baseline.checking",
    "golden_names": "tf1_mtl.baseline.goldens",
    "load_golden": "tf1_mtl.baseline.goldens",
    "load_recording": "tf1_mtl.baseline.recordings",
    "recording": "tf1_mtl.baseline.recorder",
    "save_recording": "tf1_mtl.baseline.recording_writer",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'tf1_mtl.baseline' has no attribute {name!r}")


def __dir__() -> List[str]:
    return sorted([*globals(), *__all__])
