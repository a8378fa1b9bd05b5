"""Checks a newer port against TensorFlow 1.x, stage by stage, and says what it does differently.

A port is any callable that takes the initial weights and returns an object with two methods:

    class Port:
        def __init__(self, share_W, share_Y1, share_Y2): ...  # float32 arrays
        def step(self, task, X, Y1, Y2): ...  # task "Y1", "Y2" or "joint"; returns the loss
                                              # before the update
        def weights(self): ...                # {"share_W": ..., "share_Y1": ..., "share_Y2": ...},
                                              # float32 arrays of the shapes given

    from tf1_mtl.baseline import check
    report = check(Port)
    print(report)
    assert report.passed

A label that a case does not feed is zeros. The same as tests, one a case:

    import pytest
    from tf1_mtl.baseline import check_case, golden_names

    @pytest.mark.parametrize("case", golden_names())
    def test_port(case):
        result = check_case(Port, case)
        assert result.passed, result
"""

import json
from typing import List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.diagnosis import Diagnosis, diagnose
from tf1_mtl.baseline.fitting import mean_step_length
from tf1_mtl.baseline.goldens import golden_names, load_golden
from tf1_mtl.baseline.judgement import Divergence, judge
from tf1_mtl.baseline.play import Played, Port, play
from tf1_mtl.baseline.recordings import Recording
from tf1_mtl.baseline.repetition import repeats
from tf1_mtl.baseline.report import counted, divergence_text, plain
from tf1_mtl.baseline.stages import STAGES

# A mean step further from TensorFlow's than this is remarked upon: TensorFlow's versions and plain
# float32 NumPy stay within 4e-7, a float32 Adam with 1 - beta2 taken in double is off by 5e-6.
REMARKABLE_STEP = 2e-6
REMARKABLE_STEPS = 1000  # that was measured over so many


class CaseResult(NamedTuple):
    """One case of a check."""

    case: str
    steps: int  #: how many the port made
    divergence: Optional[Divergence]
    broke: str  #: where the port broke, and its traceback

    @property
    def passed(self) -> bool:
        return self.divergence is None and not self.broke

    @property
    def verdict(self) -> str:
        if self.divergence:
            when = (
                f"at step {self.divergence.step}" if self.divergence.step >= 0 else "before step 0"
            )
            return f"deviates {when} ({self.divergence.stage})"
        return f"broke after {self.steps} steps" if self.broke else f"conforms, {self.steps} steps"

    def __str__(self) -> str:
        if self.divergence:
            return divergence_text(self.divergence)
        return f"broke in {self.broke}" if self.broke else f"golden '{self.case}': {self.verdict}"


class Report(NamedTuple):
    """What a check found."""

    cases: Tuple[CaseResult, ...]
    diagnosis: Optional[Diagnosis]  #: None where nothing deviates
    notes: Tuple[str, ...]

    @property
    def passed(self) -> bool:
        return all(result.passed for result in self.cases)

    @property
    def broke(self) -> bool:
        return any(result.broke for result in self.cases)

    @property
    def first(self) -> Optional[Divergence]:
        """The divergence of the earliest stage, in it of the earliest step, of these the widest."""
        found = [result.divergence for result in self.cases if result.divergence]
        return min(found, key=lambda d: (STAGES.index(d.stage), d.step, -d.times), default=None)

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def to_json(self) -> str:
        """One JSON object with everything that the text says."""
        diagnosis = [
            [cause._asdict() for cause in explanation]
            for explanation in (self.diagnosis.explanations if self.diagnosis else ())
        ]
        report = {
            "passed": self.passed,
            "broke": self.broke,
            "cases": [
                dict(
                    result._asdict(),
                    passed=result.passed,
                    divergence=result.divergence and result.divergence._asdict(),
                )
                for result in self.cases
            ],
            "first": self.first and self.first._asdict(),
            "diagnosis": self.diagnosis
            and {"text": str(self.diagnosis), "explanations": diagnosis},
            "notes": self.notes,
        }
        return json.dumps(plain(report), indent=2, allow_nan=False)


def check(
    port: Port,
    cases: Optional[Sequence[str]] = None,
    goldens: Optional[Mapping[str, Recording]] = None,
) -> Report:
    """Runs a port on every golden and judges it.

    Args:
      port: Takes share_W, share_Y1, share_Y2 (float32 arrays) and returns an object with
        `step(task, X, Y1, Y2)`, which returns the loss before the update, and `weights()`, which
        returns the three float32 arrays by name; see the module's docstring.
      cases: Names of goldens; None for all.
      goldens: Others to use in their place, by the name that the report should give them; see
        `own_golden`.

    Returns:
      The report. A port that raises is reported, with its traceback, and raises nothing here.
    """
    if goldens is None:
        goldens = {case: load_golden(case) for case in cases or golden_names()}
    plays = [play(port, case, golden) for case, golden in goldens.items()]
    results = tuple(_result(played) for played in plays)
    divergences = {result.case: result.divergence for result in results if result.divergence}
    diagnosis = None
    if divergences:
        earliest = min(divergences.values(), key=lambda found: (found.step, -found.times))
        same = repeats(port, goldens[earliest.case], earliest)
        diagnosis = diagnose(plays, divergences) if same else Diagnosis((), repeatable=False)
    return Report(results, diagnosis, tuple(_notes(plays, bool(divergences))))


def check_case(port: Port, case: str) -> CaseResult:
    """Runs a port on one golden and judges it, without a diagnosis: for one test a case.

    Args:
      port: As for `check`.
      case: One of `golden_names()`.
    """
    return _result(play(port, case, load_golden(case)))


def _result(played: Played) -> CaseResult:
    broke = f"{played.where}\n{played.broke}" if played.broke else ""
    with np.errstate(all="ignore"):  # a port's numbers may be anything
        return CaseResult(played.case, len(played.losses), judge(played, {}), broke)


def _notes(plays: Sequence[Played], deviates: bool) -> List[str]:
    notes = []
    if any(played.writes_to_its_arguments for played in plays):
        notes.append("the port writes into the arrays it is given; here they were copies.")
    longest = max(plays, key=lambda played: len(played.losses))
    # A short or broken run's mean is too rough to remark upon.
    whole = len(longest.losses) >= REMARKABLE_STEPS and not longest.broke
    length = mean_step_length(longest) if whole and not deviates else None
    if length is not None and abs(length - 1) > REMARKABLE_STEP:
        notes.append(
            f"the steps of golden '{longest.case}' are on average {abs(length - 1):.1e} of their "
            f"length {'longer' if length > 1 else 'shorter'} than TensorFlow's, which is within "
            "tolerance: hyper-parameters held in double in place of float32 do this (Keras, optax)."
        )
    return notes


def _lines(report: Report) -> List[str]:
    total, steps = len(report.cases), sum(result.steps for result in report.cases)
    lines = []
    broken = [result for result in report.cases if result.broke]
    if broken:
        lines += [
            f"broke in {len(broken)} of {counted(total, 'case')}, first in {broken[0].broke}",
            "",
        ]
    if report.first:
        bad = sum(result.divergence is not None for result in report.cases)
        lines += [
            f"deviates in {bad} of {counted(total, 'case')}. First divergence:",
            divergence_text(report.first),
        ]
        lines += ["diagnosis: " + str(report.diagnosis), ""]
    elif not broken:
        lines += [
            f"conformant: {counted(total, 'case')}, {steps} steps, all within float32 rounding"
        ]
    width = max(len(result.case) for result in report.cases)
    lines += [f"  {result.case:{width}}  {result.verdict}" for result in report.cases]
    return lines + [f"note: {note}" for note in report.notes]
