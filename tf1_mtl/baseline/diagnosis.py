"""Names the cause: the known deviation, or two of them, with which the reference does the same.

A cause is named only when the port passes the check of the reference that has it, on every case,
within the same derived tolerances. A quick float64 run weeds out what is far from the port first.
"""

import itertools
from typing import Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.deviation import Deviation, Settings
from tf1_mtl.baseline.fitting import FAR_LOSS, first_loss, fit, near
from tf1_mtl.baseline.judge import Divergence
from tf1_mtl.baseline.judgement import agrees
from tf1_mtl.baseline.known import KNOWN, Cause, at, causes
from tf1_mtl.baseline.play import Played
from tf1_mtl.baseline.stages import LONG_RUN

# How many steps of a case decide; those after a divergence tell causes apart.
STEPS_AGREEING, STEPS_AFTER = 30, 10
# Deviations that are likely to be at no listed strength in a pair too.
OFTEN_UNUSUAL = ("learning-rate", "adam-epsilon", "adam-beta1", "adam-beta2", "loss-scaled")
Case = Tuple[Played, int]  # and how many of its steps decide
Explanation = Tuple[Cause, ...]


class Diagnosis(NamedTuple):
    """Why a port deviates."""

    #: Each explains everything that the port did: one cause, or two together. Several are
    #: explanations that no case tells apart; none means that no known deviation does it.
    explanations: Tuple[Explanation, ...]
    #: True when every step by itself is within its tolerance: there is nothing to search by.
    drift: bool = False
    #: Why pairs were not searched too, where they were not.
    no_pairs: str = ""

    @property
    def ids(self) -> Tuple[str, ...]:
        """The first explanation's identifiers."""
        if self.drift:
            return ("drift",)
        return tuple(cause.id for cause in self.explanations[0]) if self.explanations else ()

    def __str__(self) -> str:
        if self.drift:
            return (
                "drift: every step by itself is within its tolerance, so known deviations cannot "
                "be told apart. Look for a hyper-parameter or a decay that is off by a little."
            )
        if not self.explanations:
            if self.no_pairs:
                return f"No known deviation reproduces this. Pairs were not tried: {self.no_pairs}."
            return "No known deviation reproduces this, alone or in a pair."
        first, others = self.explanations[0], self.explanations[1:]
        text = f"This is what the reference does with {_words(first)}."
        if others:
            text += " No case tells it apart from " + ", nor from ".join(map(_words, others)) + "."
        return text


def _words(explanation: Explanation) -> str:
    return " and ".join(f"{cause.id}: {cause.words}" for cause in explanation)


def diagnose(plays: Sequence[Played], divergences: Mapping[str, Divergence]) -> Diagnosis:
    """Searches the known deviations, then their pairs.

    Args:
      plays: What the port did with every case.
      divergences: The first divergence of each case that has one, by case.

    Returns:
      The diagnosis; its explanations are in the order of `known.KNOWN`, fitted ones last.
    """
    telling = {case: found for case, found in divergences.items() if found.stage != LONG_RUN}
    if not telling:
        return Diagnosis((), drift=True)
    evidence = _Evidence(plays, telling)
    found = evidence.singles()
    if found:
        return Diagnosis(tuple(found))
    no_pairs = _no_pairs(plays, min(divergence.step for divergence in telling.values()))
    return Diagnosis((), no_pairs=no_pairs) if no_pairs else Diagnosis(tuple(evidence.pairs()))


def _no_pairs(plays: Sequence[Played], first_step: int) -> str:
    """Why there is nothing to search for pairs in."""
    for played in plays:
        last = [played.losses, *(x for shown in played.after[-1:] for x in shown.values())]
        if not all(np.isfinite(np.asarray(x, float)).all() for x in last):
            return "the port's numbers are not finite"
    if first_step > STEPS_AGREEING:
        return f"the first {first_step} steps are right"
    return ""


class _Evidence:
    """What the port did, in the order in which it is held against a suspect."""

    def __init__(self, plays: Sequence[Played], divergences: Mapping[str, Divergence]) -> None:
        def first_divergence(played: Played) -> int:
            found = divergences.get(played.case)
            return found.step if found else len(played.golden.runs)

        self.cases: List[Tuple[Played, int]] = []
        for played in sorted(plays, key=first_divergence):
            found = divergences.get(played.case)
            self.cases.append((played, found.step + STEPS_AFTER if found else STEPS_AGREEING))
        self.diverging = [case for case in self.cases if case[0].case in divergences]

    def explained_by(self, settings: Settings) -> bool:
        """Whether the reference with these rules does what the port did, in every case."""
        return _explains(settings, self.cases)

    def singles(self) -> List[Explanation]:
        """The causes that alone explain all: those at listed strengths first, then the fitted."""
        found: List[Explanation] = [
            (cause,) for cause in causes() if self.explained_by(cause.settings)
        ]
        named = {explanation[0].id for explanation in found}
        fitted_to = self.diverging[:1] if found else self.diverging[:3]
        for deviation in KNOWN:
            if deviation.fitted and deviation.id not in named:
                hits = itertools.islice(self.fitted(deviation, {}, fitted_to), 1)
                found += [(hit,) for hit in hits if not _same_settings(hit, found)]
        return found

    def fitted(
        self, deviation: Deviation, others: Settings, fitted_to: Sequence[Case]
    ) -> Iterator[Cause]:
        """The deviation at strengths that were fitted to one of the cases and explain all."""
        for played, steps in fitted_to:
            settings = _fit(played, steps, deviation, others)
            if settings is not None and self.explained_by(settings):
                settings = self.rounded(settings, deviation.fitted, self.cases)
                yield at(deviation, {k: v for k, v in settings.items() if k not in others})

    def rounded(self, settings: Settings, rule: str, cases: Sequence[Case]) -> Settings:
        """The fitted value with as few digits as explain these cases."""
        for digits in range(4):
            short = {**settings, rule: float(f"{settings[rule]:.{digits}e}")}
            if _explains(short, cases):
                return short
        return settings

    def pairs(self) -> List[Explanation]:
        """Two causes together, both at listed strengths or one of them, or both, fitted."""
        self.port_losses = [p.losses[0] if p.losses else np.nan for p, _ in self.cases]
        suspects = [(cause, self.first_losses(cause.settings)) for cause in causes()]
        found: List[Explanation] = []
        for one, other in self.worth_a_try(suspects):
            if self.explained_by({**one.settings, **other.settings}):
                found.append((one, other))
        return found or list(itertools.islice(self.fitted_pairs(suspects), 1))

    def worth_a_try(self, suspects: List[Tuple[Cause, List[float]]]) -> Iterator[Explanation]:
        """The pairs that may give the losses of every case's step 0.

        A pair does only if one cause alone gives the port's losses and the other changes none, or
        if both change some.
        """
        truth = self.first_losses({})
        changes = [not _all_near(losses, truth) for _, losses in suspects]
        fits = [_all_near(losses, self.port_losses) for _, losses in suspects]
        for i, j in itertools.combinations(range(len(suspects)), 2):
            alone = (fits[i] and not changes[j]) or (fits[j] and not changes[i])
            one, other = suspects[i][0], suspects[j][0]
            if (alone or (changes[i] and changes[j])) and _compatible(one, other):
                yield one, other

    def fitted_pairs(self, suspects: List[Tuple[Cause, List[float]]]) -> Iterator[Explanation]:
        """Greedily: a cause that explains the first case, then any other fitted to the next;
        or a cause that gives the first losses, then one that is often unusual fitted to it."""
        played, steps = self.diverging[0]
        for deviation in KNOWN:
            settings = _fit(played, steps, deviation, {}) if deviation.fitted else None
            if settings is not None and follows(played, settings, steps):
                settings = self.rounded(settings, deviation.fitted, self.diverging[:1])
                yield from self.completed(at(deviation, settings), KNOWN)
        often = [deviation for deviation in KNOWN if deviation.id in OFTEN_UNUSUAL]
        tried = set()
        for one, losses in suspects:
            if _all_near(losses, self.port_losses) and one.id not in tried:
                tried.add(one.id)
                yield from self.completed(one, often)

    def completed(self, one: Cause, others: Sequence[Deviation]) -> Iterator[Explanation]:
        """The cause together with another that is fitted to the first case that it leaves open."""
        left = (case for case in self.diverging if not _explains(one.settings, [case]))
        fitted_to = list(itertools.islice(left, 1))
        for deviation in others:
            if deviation.id != one.id and deviation.fitted and deviation.fitted not in one.settings:
                for other in self.fitted(deviation, one.settings, fitted_to):
                    yield one, other

    def first_losses(self, settings: Settings) -> List[float]:
        return [first_loss(played, settings) for played, _ in self.cases]


def _explains(settings: Settings, cases: Sequence[Case]) -> bool:
    return all(near(played, settings, steps) for played, steps in cases) and all(
        follows(played, settings, steps) for played, steps in cases
    )


def follows(played: Played, settings: Settings, steps: int) -> bool:
    """Whether the reference with these rules does, within rounding, what the port did."""
    try:
        with np.errstate(all="ignore"):
            return agrees(played, settings, steps)
    except ValueError:  # shapes that do not fit: the port broke there too, or did something else
        return bool(played.broke)


def _fit(played: Played, steps: int, deviation: Deviation, others: Settings) -> Optional[Settings]:
    return fit(played, steps, max(1, steps - STEPS_AFTER + 2), deviation, others)


def _all_near(losses: Sequence[float], others: Sequence[float]) -> bool:
    a, b = np.array(losses), np.array(others)
    known = ~np.isnan(a) & ~np.isnan(b)
    return bool((np.abs(a - b) <= FAR_LOSS * np.maximum(np.abs(a), np.abs(b)) + 1e-9)[known].all())


def _compatible(one: Cause, other: Cause) -> bool:
    return one.id != other.id and not set(one.settings) & set(other.settings)


def _same_settings(cause: Cause, found: List[Explanation]) -> bool:
    return any(cause.settings == explanation[0].settings for explanation in found)
