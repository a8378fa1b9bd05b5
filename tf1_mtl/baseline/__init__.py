"""Checks newer ports against recordings of TensorFlow 1.

    from tf1_mtl.baseline import check

NumPy alone is needed, except by `recording`, which watches a TensorFlow process. The names below
are loaded on first use.
"""

from typing import TYPE_CHECKING

from tf1_mtl.lazy import load_on_first_use

if TYPE_CHECKING:
    from tf1_mtl.baseline.checking import Report, check, check_case
    from tf1_mtl.baseline.goldens import golden_names, load_golden
    from tf1_mtl.baseline.recorded_cases import cases_of
    from tf1_mtl.baseline.recorder import recording
    from tf1_mtl.baseline.recordings import (
        Recording,
        Run,
        Session,
        load_recording,
        save_recording,
    )
    from tf1_mtl.baseline.reference import Reference

__all__ = [
    "Recording",
    "Reference",
    "Report",
    "Run",
    "Session",
    "cases_of",
    "check",
    "check_case",
    "golden_names",
    "load_golden",
    "load_recording",
    "recording",
    "save_recording",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_on_first_use(
        __name__,
        {
            "Recording": "recordings",
            "Reference": "reference",
            "Report": "checking",
            "Run": "recordings",
            "Session": "recordings",
            "cases_of": "recorded_cases",
            "check": "checking",
            "check_case": "checking",
            "golden_names": "goldens",
            "load_golden": "goldens",
            "load_recording": "recordings",
            "recording": "recorder",
            "save_recording": "recordings",
        },
    )
