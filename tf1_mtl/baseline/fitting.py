"""Quick float64 runs beside a port: is a suspect near it, and at which strength is it nearest?

Like the check, a run takes the port's own weights before every step.
"""

from typing import Iterator, List, Optional, Tuple

import numpy as np

from tf1_mtl.baseline.alternatives import ROUGH
from tf1_mtl.baseline.deviation import Deviation, Settings
from tf1_mtl.baseline.deviations import Deviant
from tf1_mtl.baseline.play import Played
from tf1_mtl.baseline.reference import WEIGHTS

# Relative to loss, update and weight: far above rounding, far below what most deviations do.
FAR_LOSS, FAR_UPDATE, FAR_WEIGHT = 1e-4, 1e-4, 3e-7
ROUGH_SLACK = 1000.0  # times these, where float32 itself is far from float64


def near(played: Played, settings: Settings, steps: int) -> bool:
    """Whether it does so roughly; quick."""
    try:
        with np.errstate(all="ignore"):
            rough = ROUGH_SLACK if ROUGH.intersection(settings.values()) else 1.0
            labels = _label_squares(played)
            return all(_is_near(labels, rough, *step) for step in _steps(played, settings, steps))
    except ValueError:
        return bool(played.broke)


def _is_near(
    labels: float, rough: float, loss: float, expected_loss: float, arrays: List[Tuple]
) -> bool:
    """One step; most elements decide, since a few may hang on the sign of what rounding left."""
    if not np.isfinite(expected_loss):
        return not np.isfinite(loss)
    slack = FAR_LOSS * (max(abs(loss), abs(expected_loss)) + 0.1 * np.sqrt(abs(loss) * labels))
    if not abs(loss - expected_loss) <= rough * slack + 1e-9 * labels:
        return False
    if abs(expected_loss) < 1e-9 * labels:  # Adam makes full steps of what rounding left
        return True
    for obtained, expected, before in arrays:
        slack = rough * FAR_UPDATE * np.abs(obtained - before) + FAR_WEIGHT * np.abs(obtained)
        far = ~(np.abs(obtained - expected) <= slack) & np.isfinite(expected)
        if 2 * np.count_nonzero(far) > far.size:
            return False
    return True


def fit(
    played: Played, steps: int, few: int, deviation: Deviation, others: Settings
) -> Optional[Settings]:
    """The strength at which a deviation comes closest to what a port did, if it comes near it.

    Args:
      played: What the port did.
      steps: How many steps the strength is fitted to in the end.
      few: And in the beginning, which is quick.
      deviation: Its `fitted` rule is searched, from the best of its listed strengths on.
      others: Rules of another cause, which stay.
    """
    strengths = [{**settings, **others} for settings in deviation.strengths]
    try:
        with np.errstate(all="ignore"):
            sizes = [np.abs(_off(played, settings, few)).sum() for settings in strengths]
            settings = _fitted(played, strengths[int(np.nanargmin(sizes))], deviation.fitted, few)
            if near(played, settings, steps):
                return _fitted(played, settings, deviation.fitted, steps)
    except ValueError:  # no strength gives numbers, or shapes that fit
        pass
    return None


def _fitted(played: Played, settings: Settings, rule: str, steps: int) -> Settings:
    """Gauss and Newton's least squares, for one number."""
    for _ in range(8):
        value = settings[rule]
        here = _off(played, settings, steps)
        slope = (_off(played, {**settings, rule: 1.00001 * value}, steps) - here) / (1e-5 * value)
        change = -float((slope * here).sum() / (slope * slope).sum())
        settings = {**settings, rule: value + np.clip(change, -0.9 * abs(value), 9 * abs(value))}
        if not abs(change) > 1e-7 * abs(value):
            break
    return settings


def _off(played: Played, settings: Settings, steps: int) -> np.ndarray:
    """How far off all steps are, in parts of what float32 can hold."""
    parts = []
    for loss, expected_loss, arrays in _steps(played, settings, steps):
        parts.append(np.array([(loss - expected_loss) / (1e-6 * abs(loss) + 1e-30)]))
        for obtained, expected, _ in arrays:
            parts.append(((obtained - expected) / (1e-7 * np.abs(obtained) + 1e-8)).ravel())
    return np.concatenate(parts)


def _steps(played: Played, settings: Settings, steps: int) -> Iterator[Tuple]:
    """Loss and weights of each step: the port's, the deviant's from the port's weights before."""
    golden = played.golden
    weights = {name: golden.sessions[0].initial[name] for name in WEIGHTS}
    model = Deviant(**weights, dtype=np.float64, **settings)
    for step in range(min(steps, len(played.after))):
        shown = played.before[step]
        model.show({name: shown[name].astype(np.float64) for name in WEIGHTS})
        loss = float(model.step(*played.batch(step)))
        weights = model.shown()
        after = played.after[step]
        yield (
            played.losses[step],
            loss,
            [
                (after[name].astype(np.float64), weights[name], shown[name].astype(np.float64))
                for name in WEIGHTS
            ],
        )


def first_loss(played: Played, settings: Settings) -> float:
    """The loss that these rules give in a case's step 0; nan if they cannot run it."""
    with np.errstate(all="ignore"):
        try:
            for _, loss, _ in _steps(played, settings, 1):
                return loss
        except ValueError:
            pass
    return np.nan


def _label_squares(played: Played) -> float:
    feeds = played.golden.runs[0].feeds
    return float(sum(np.sum(np.square(feeds[name])) for name in ("Y1", "Y2") if name in feeds))
