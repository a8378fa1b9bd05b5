"""Checks a port against TensorFlow 1.x: of the article, or of any recorded script.

    from tf1_mtl.baseline import check
    report = check(Port)                            # the goldens of the article
    report = check(Port, goldens=["run.npz"])       # recordings of another script
    print(report)
    assert report.passed

`port_run` states what a port is. The report has a verdict for each task and weight, the first
divergence, and the mistakes that explain all that the port did. The same as tests, one a case:

    import pytest
    from tf1_mtl.baseline import check_case, golden_names

    @pytest.mark.parametrize("case", golden_names())
    def test_port(case):
        result = check_case(Port, case)
        assert result.passed, result

Of a recording, the cases are `cases_of("run.npz")`.
"""

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

from tf1_mtl.baseline import report
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis.averages import of_averages, without_averages
from tf1_mtl.baseline.diagnosis.diagnose import Diagnosis, diagnose, is_right
from tf1_mtl.baseline.diagnosis.hidden_biases import biased_activations, diagnose_with_biases
from tf1_mtl.baseline.goldens import golden_names
from tf1_mtl.baseline.judge import Divergence, Judgement, judge, repeats
from tf1_mtl.baseline.port_run import Port, PortRun, WrongDtype, run_port
from tf1_mtl.baseline.recorded_cases import cases_of
from tf1_mtl.baseline.stages import LONG_RUN, STAGES
from tf1_mtl.errors import InputError

# If the mean length of a step is off by more than this, the report has a note. The versions of
# TensorFlow and plain float32 NumPy stay within 4e-7. Adam with 1 - beta2 in double is off by 5e-6.
REMARKABLE_STEP = 2e-6
REMARKABLE_STEPS = 1000  # that was measured over so many
# A port that draws random numbers may by chance be off by nearly the same once more.
REPETITIONS = 2


class CaseResult(NamedTuple):
    """Holds what was found on one case."""

    case: str
    steps: int  #: how many the port made
    judgement: Judgement
    dtypes: Tuple[WrongDtype, ...]
    broke: str  #: where the port broke, and its traceback
    unwritten: str = ""  #: the method that seems not to be written yet, and where it is

    @property
    def divergence(self) -> Optional[Divergence]:
        """Returns the first divergence of the case."""
        return self.judgement.divergence

    @property
    def passed(self) -> bool:
        return not (self.divergence or self.broke or self.dtypes or self.judgement.not_judged)

    def __str__(self) -> str:
        return report.case_text(self)


class Report(NamedTuple):
    """Holds what a check found."""

    cases: Tuple[CaseResult, ...]
    is_repeatable: bool  #: False when a port that deviates gave other values the second time
    notes: Tuple[str, ...]
    diagnosis: Optional[Diagnosis] = None  #: None where nothing was searched

    @property
    def passed(self) -> bool:
        return all(result.passed for result in self.cases)

    @property
    def broke(self) -> bool:
        return any(result.broke for result in self.cases)

    @property
    def first(self) -> Optional[Divergence]:
        """Returns the divergence of the earliest stage, and in that stage of the earliest step."""
        found = [result.divergence for result in self.cases if result.divergence]
        return min(found, key=lambda d: (STAGES.index(d.stage), d.step, -d.times), default=None)

    @property
    def dtypes(self) -> Tuple[WrongDtype, ...]:
        """Returns every return of another dtype, once."""
        return tuple({wrong: None for result in self.cases for wrong in result.dtypes})

    @property
    def unwritten(self) -> Tuple[str, ...]:
        """Returns the methods that seem not to be written yet, once, and where they are."""
        found = (result.unwritten for result in self.cases if result.unwritten)
        return tuple(dict.fromkeys(found))

    @property
    def ids(self) -> Tuple[str, ...]:
        """Returns the identifiers of what the port does differently."""
        dtypes = {f"weights-{wrong.obtained}": None for wrong in self.dtypes}
        repeats = () if self.is_repeatable else ("not-repeatable",)
        return (*dtypes, *repeats, *(self.diagnosis.ids if self.diagnosis else ()))

    def __str__(self) -> str:
        return report.text(self)

    def to_json(self) -> str:
        """Returns one JSON object with everything that the text states."""
        return report.to_json(self)


def check(
    port: Port,
    cases: Optional[Sequence[str]] = None,
    goldens: Optional[Sequence[str]] = None,
    done: Callable[[int, int], None] = lambda steps, total: None,
    seconds: Optional[float] = None,
) -> Report:
    """Runs a port on every golden, and judges it.

    Args:
      port: A class or function that makes a port; see `port_run`.
      cases: Names of goldens of the article; None for all.
      goldens: Paths of recordings, in place of the goldens of the article.
      done: Called after every step with the number of steps done and of all. Running a step is
        half of it, judging it the other half.
      seconds: CPU time after which the search for what explains a port gives up. None is 9 for the
        article and 60 for other recordings.

    Returns:
      The report. A port that raises is reported, with its traceback, and raises nothing here.

    Raises:
      InputError: There is no golden of a name, a file is not a recording, or it holds no graph.
    """
    chosen = _chosen(cases, goldens)
    total, made = sum(len(case.steps) for case in chosen), 0

    def count() -> None:
        nonlocal made
        made += 1
        done(made // 2, total)

    runs = [run_port(port, case, done=count) for case in chosen]
    results = tuple(_result(run, count) for run in runs)
    done(total, total)  # a port that broke has made fewer
    is_repeatable = _repeatable(port, runs, results)
    diagnosis = _diagnosis(port, runs, results, is_repeatable, seconds)
    return Report(results, is_repeatable, tuple(_notes(runs, results)), diagnosis)


def check_case(port: Port, case: Union[str, Case]) -> CaseResult:
    """Runs a port on one case and judges it, without a diagnosis: for one test a case.

    Args:
      port: As for `check`.
      case: One of `golden_names()`, or a case that `cases_of` gives.
    """
    return _result(run_port(port, cases_of(case)[0] if isinstance(case, str) else case))


def _chosen(cases: Optional[Sequence[str]], goldens: Optional[Sequence[str]]) -> List[Case]:
    given = cases if goldens is None else goldens
    names = golden_names() if given is None else (given,) if isinstance(given, str) else given
    if not names:
        raise InputError("goldens: empty, should name at least one recording. Name one.")
    return [case for name in names for case in cases_of(name)]


def _result(run: PortRun, done: Callable[[], None] = lambda: None) -> CaseResult:
    broke = f"{run.where}\n{run.broke}" if run.broke else ""
    judgement = judge(run, done)
    return CaseResult(run.case.name, run.steps, judgement, run.dtypes, broke, run.unwritten)


def _repeatable(port: Port, runs: Sequence[PortRun], results: Sequence[CaseResult]) -> bool:
    """Returns whether a port that deviates does the same again."""
    found = [(run, result.divergence) for run, result in zip(runs, results) if result.divergence]
    if not found or any(run.wrong for run in runs):
        return True
    run, first = min(found, key=lambda pair: (pair[1].step, -pair[1].times))
    again = (run_port(port, run.case, max(first.step, 0) + 1) for _ in range(REPETITIONS))
    return all(repeats(other, first) for other in again)


def _diagnosis(
    port: Port,
    runs: Sequence[PortRun],
    results: Sequence[CaseResult],
    is_repeatable: bool,
    seconds: Optional[float],
) -> Optional[Diagnosis]:
    """Returns what a port does differently. None: nothing can be searched."""
    stages = [result.divergence.stage for result in results if result.divergence]
    if not stages or any(run.wrong for run in runs):
        return None
    if set(stages) == {LONG_RUN}:
        return Diagnosis(is_drift=True) if is_repeatable else None
    averages = {name for run in runs for name in run.case.averages if name in run.case.weights}
    if averages and is_repeatable:
        wrong = {
            name
            for result in results
            for (_, name), step in result.judgement.verdicts.items()
            if step is not None
        }
        follow = [of_averages(run) for run in runs if run.after]
        own = [run for run in follow if run] if all(follow) else []
        if not wrong - averages:
            return diagnose(own or runs, seconds=seconds)
        alone = [without_averages(run) for run in runs]
        found = _diagnosis(port, alone, results, is_repeatable, seconds)
        return found and _with_averages(found, own, seconds)
    cases = [run.case for run in runs]
    biased = biased_activations(port, cases)
    found = diagnose(runs, 0.5 if biased else 1.0, seconds=seconds) if is_repeatable else None
    if biased and (found is None or not found.is_whole):
        return diagnose_with_biases(port, cases, biased, seconds) or found
    return found


def _with_averages(
    found: Diagnosis, averages: Sequence[PortRun], seconds: Optional[float]
) -> Diagnosis:
    """Returns what explains wrong weights, with what explains the averages that follow them.

    Args:
      found: What explains the weights.
      averages: What the port did to the averages of its own weights; empty where that is unknown.
      seconds: The time limit.
    """
    if not found.edits or (averages and is_right(averages)):
        return found
    more = diagnose(averages, 0.5, seconds=seconds) if averages and found.is_whole else None
    if more and more.is_whole:
        return found._replace(edits=(*found.edits, *more.edits))
    left = "are not explained" if more else "were not searched"
    note = f"The moving averages of the weights {left}."
    return found._replace(note=f"{found.note} {note}".strip())


def _notes(runs: Sequence[PortRun], results: Sequence[CaseResult]) -> List[str]:
    notes = []
    if any(run.writes_to_its_arguments for run in runs):
        notes.append("the port writes into the arrays that it is given; here they were copies.")
    averages = dict.fromkeys(name for run in runs for name in run.case.not_judged)
    if averages and any(run.after for run in runs):
        notes.append(
            "these moving averages were not checked, because weights() does not return them: "
            f"{', '.join(averages)}."
        )
    longest = max(results, key=lambda result: result.steps)
    length = longest.judgement.step_length
    # The mean of a short or broken run is too rough for a note.
    whole = longest.steps >= REMARKABLE_STEPS and not longest.broke
    right = not any(result.divergence for result in results)
    if whole and right and length is not None and abs(length - 1) > REMARKABLE_STEP:
        notes.append(
            f"the steps on golden '{longest.case}' are on average {abs(length - 1):.1e} of their "
            f"length {'longer' if length > 1 else 'shorter'} than those of TensorFlow, which is "
            "within tolerance. Hyper-parameters held in double in place of float32 do this (Keras, "
            "optax)."
        )
    return notes
