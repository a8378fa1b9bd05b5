"""Reports a comparison of regimes: figures with intervals, and what they support.

An interval is that of the median, by order statistics. It goes from the r-th lowest to the r-th
highest of K seeds. Whatever the distribution, it holds the median of all seeds with probability
1 - 2 P(Binomial(K, 1/2) < r). Ratios are taken within a seed.
"""

import textwrap
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

import numpy as np

from tf1_mtl.errors import require
from tf1_mtl.teaching import style
from tf1_mtl.teaching.comparison import (
    ALONE,
    BATCH,
    JOINT,
    RANDOM,
    TASKS,
    WORDS,
    Outcome,
    Setting,
    ratio,
)

Report = Dict[str, Any]

#: Characters of a line of the text.
_WIDTH = 110
#: The start and learning rate under which data sets of different sizes are compared.
_PLAIN = ("centred", 0.001)


def rank_and_coverage(seeds: int) -> Tuple[int, float]:
    """Returns the largest r whose interval holds the median with 95 %, and the probability.

    With too few seeds r is 1, and the probability is below 95 %.
    """
    below, probability = 0.0, 0.5**seeds  # probability of fewer than r, and of exactly r - 1
    rank, coverage = 1, 1 - 2 * probability
    for r in range(1, seeds // 2 + 1):
        below += probability
        if 1 - 2 * below < 0.95:
            break
        rank, coverage = r, 1 - 2 * below
        probability *= (seeds - r + 1) / r
    return rank, max(coverage, 0.0)


def interval(values: Sequence[float]) -> Dict[str, Any]:
    """Returns the median and the interval of values, one for each seed."""
    rank, _ = rank_and_coverage(len(values))
    ordered = sorted(values)
    return {
        "median": float(np.median(ordered)),
        "low": ordered[rank - 1],
        "high": ordered[-rank],
        "values": list(values),
    }


def report(settings: Sequence[Setting], outcomes: Sequence[Outcome], steps: int) -> Report:
    """Returns the figures of a comparison, gathered from its outcomes.

    Args:
      settings: The settings that were compared under.
      outcomes: Everything that `comparison.trainings` yielded.
      steps: Number of steps of each task.

    Returns:
      What `--json` prints.
    """
    seeds = len({outcome.seed for outcome in outcomes})
    of_settings = [_setting(setting, outcomes) for setting in settings]
    found = {
        "tasks": dict(zip(TASKS, settings[0].tasks)),
        "steps": steps,
        "seeds": seeds,
        "batch": BATCH,
        "interval": {
            "method": "of the median, by order statistics",
            "coverage": rank_and_coverage(seeds)[1],
        },
        "settings": of_settings,
        "bias_toward_larger_set": _size_bias(of_settings),
    }
    supports, open_questions = _findings(found)
    return {
        "headline": _headline(found),
        **found,
        "supports": supports,
        "does_not_support": open_questions,
    }


def _setting(setting: Setting, outcomes: Sequence[Outcome]) -> Dict[str, Any]:
    of_regime = {
        regime: [o for o in outcomes if o.setting == setting.name and o.regime == regime]
        for regime in setting.regimes
    }
    alone = of_regime[ALONE]
    both = RANDOM in of_regime and JOINT in of_regime
    return {
        "data": setting.data,
        "start": setting.start,
        "learning_rate": setting.learning_rate,
        "rows": alone[0].rows,
        "larger": setting.larger,
        "constant_guess": _by_task(alone, lambda o, task: o.guess[task]),
        "regimes": {regime: _regime(of_regime[regime], alone) for regime in setting.regimes},
        "alternate_against_joint": _against(of_regime[RANDOM], of_regime[JOINT]) if both else {},
    }


def _regime(outcomes: Sequence[Outcome], alone: Sequence[Outcome]) -> Dict[str, Any]:
    return {
        "steps": _by_task(outcomes, lambda o, task: o.steps[task]),
        "loss": _by_task(outcomes, lambda o, task: o.loss[task]),
        "against_alone": _against(outcomes, alone),
        "against_guess": _by_task(outcomes, lambda o, task: ratio(o.loss[task], o.guess[task])),
        "accuracy": _by_task(outcomes, lambda o, task: o.accuracy[task]),
        "silent_outputs": _by_task(outcomes, lambda o, task: o.silent[task]),
        "seconds": interval([o.seconds for o in outcomes]),
        "other_task_last": {
            str(steps): _by_task(outcomes, lambda o, task, n=steps: o.last[n][task])
            for steps in outcomes[0].last
        },
    }


def _by_task(outcomes: Sequence[Outcome], figure: Callable[..., Any]) -> Dict[str, Any]:
    """Returns the interval of a figure for each task, or None if the figure is None for a seed.

    Args:
      outcomes: One for each seed.
      figure: Takes an outcome and a task.
    """
    values = {task: [figure(outcome, task) for outcome in outcomes] for task in TASKS}
    return {task: None if None in of else interval(of) for task, of in values.items()}


def _against(ours: Sequence[Outcome], others: Sequence[Outcome]) -> Dict[str, Any]:
    """Returns the interval of the loss of each task, as a multiple of that of other outcomes."""
    return {
        task: interval([ratio(a.loss[task], b.loss[task]) for a, b in zip(ours, others)])
        for task in TASKS
    }


def _size_bias(settings: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """Returns how much more the task of the smaller set loses, compared with training alone.

    If each task had the larger set once, it is the geometric mean of both, so that the nature of
    the tasks cancels out.
    """
    unequal = _unequal(settings)
    bias = {}
    for regime in unequal[0]["regimes"] if unequal else ():
        if regime == ALONE:
            continue
        logs = []  # of each setting and seed
        for setting in unequal:
            against = setting["regimes"][regime]["against_alone"]
            smaller = "Y2" if setting["larger"] == "Y1" else "Y1"
            harm = {task: np.log(against[task]["values"]) for task in TASKS}
            logs.append(harm[smaller] - harm[setting["larger"]])
        bias[regime] = interval(np.exp(np.mean(logs, axis=0)).tolist())
    return bias


def _unequal(settings: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Returns the settings under which data sets of different sizes are compared."""
    return [s for s in settings if s["larger"] and (s["start"], s["learning_rate"]) == _PLAIN]


def _headline(found: Report) -> Dict[str, Any]:
    """Returns the answer to "alternate or joint?", and its words.

    The answer is that of the first setting. The coverage is that of the intervals of both tasks at
    once, however they depend on each other (Bonferroni).
    """
    setting, *others = (s for s in found["settings"] if s["data"] == found["settings"][0]["data"])
    rival, against = _rival(setting)
    better = {task: _better(found, setting, task) for task in TASKS}
    elsewhere = [_answer({_better(found, s, task) for task in TASKS}) for s in others]
    coverage = max(0.0, 2 * found["interval"]["coverage"] - 1)
    return {
        "question": f"alternate or {rival}?",
        "answer": _answer(set(better.values())),
        "better_for": better,
        "coverage": coverage,
        "answers_at_other_starts_and_rates": elsewhere,
        "text": " ".join(
            [
                _answer_in_words(found, rival, better),
                f"Trained alternately by coin, Y1 has {shown(against['Y1'])} times its loss when "
                f"trained {WORDS[rival]}, and Y2 {shown(against['Y2'])} times. Both intervals hold "
                f"at once with at least {coverage:.1%}. {_elsewhere_in_words(elsewhere)}.",
            ]
        ),
    }


def _rival(setting: Dict[str, Any]) -> Tuple[str, Dict[str, Any]]:
    """Returns what alternate training is compared with: joint training, or each task alone."""
    if setting["alternate_against_joint"]:
        return JOINT, setting["alternate_against_joint"]
    return ALONE, setting["regimes"][RANDOM]["against_alone"]


def _better(found: Report, setting: Dict[str, Any], task: str) -> str:
    """Returns what is better for a task: "alternate", "joint" or "alone", if that is decided.

    Otherwise it is "undecided", or "nothing learned" if the task learned nothing there.
    """
    rival, against = _rival(setting)
    if found["interval"]["coverage"] < 0.95:
        return "undecided"
    better = {"better": "alternate", "worse": rival, "": "undecided"}[verdict(against[task])]
    chosen = {"alternate": [RANDOM], rival: [rival]}.get(better, [RANDOM, rival])
    if all(learned_nothing(setting, regime, task) for regime in chosen):
        return "nothing learned"
    return better


def _answer(better: Set[str]) -> str:
    """Returns the answer for both tasks, from what is better for each."""
    decided = better - {"undecided", "nothing learned"}
    if len(decided) == 2:
        return "depends on the task"
    if decided:
        return decided.pop()
    return "undecided" if "undecided" in better else "nothing learned"


def _answer_in_words(found: Report, rival: str, better: Dict[str, str]) -> str:
    named = {task: f"{task} ({what})" for task, what in found["tasks"].items()}
    undecided = f"{found['seeds']} seeds do not decide for"
    if found["interval"]["coverage"] < 0.95:
        undecided = f"{found['seeds']} seeds are too few (95 % takes 6) for"
    verbs = {
        "alternate": "alternate training is better for",
        rival: f"{'joint training' if rival == JOINT else 'training alone'} is better for",
        "undecided": undecided,
        "nothing learned": "nothing was learned either way of",
    }
    words = [
        f"{verb} {' and '.join(named[task] for task in TASKS if better[task] == result)}"
        for result, verb in verbs.items()
        if result in better.values()
    ]
    why = "" if rival == JOINT else ", as no row has both labels"
    answer = ", and ".join(words)
    return f"Alternate or {rival}{why}? {answer[0].upper()}{answer[1:]}."


def _elsewhere_in_words(answers: List[str]) -> str:
    if not answers:
        return "No other start or learning rate was tried"
    counts = [f"{answer!r} at {answers.count(answer)}" for answer in sorted(set(answers))]
    return f"Of {len(answers)} other starts and learning rates the answer is {', '.join(counts)}"


class _Claim(NamedTuple):
    """Holds a sentence about figures."""

    sentence: str
    is_supported: bool
    intervals: int = 1  #: how many it looks at


def _findings(found: Report) -> Tuple[List[str], List[str]]:
    """Returns the sentences that the figures support, and those that they do not."""
    coverage, settings = found["interval"]["coverage"], found["settings"]
    if coverage < 0.95:
        return [], ["anything: fewer than 6 seeds give no interval of 95 %. Take at least 6."]
    claims = [claim for setting in settings for claim in _claims_of_setting(setting)]
    claims += [*_claims_of_sizes(found), *_claims_of_last_task(settings[0])]
    looked_at = sum(claim.intervals for claim in claims)
    looked_at += sum(len(setting["alternate_against_joint"]) for setting in settings)
    not_shown = [claim.sentence for claim in claims if not claim.is_supported]
    if len({setting["larger"] for setting in settings} - {""}) == 1:
        not_shown.append(
            "whether a bias toward a data set comes from its size or from its task: that takes the "
            "same tasks with the sizes swapped."
        )
    not_shown += [
        f"any one of these for certain: {looked_at} intervals were looked at, and each misses with "
        f"{1 - coverage:.1%}.",
        "anything about other data, networks, numbers of steps or learning rates. Where losses "
        "still fall, more steps may change the order.",
    ]
    return [claim.sentence for claim in claims if claim.is_supported], not_shown


def _claims_of_setting(setting: Dict[str, Any]) -> Iterator[_Claim]:
    """Yields what was not learned, and how each regime compares with training alone."""
    for tasks, where in nothing_learned(setting).items():
        sentence = (
            f"{title(setting)}: nothing was learned of {tasks} {where}. The loss is above that "
            "of a constant guess. Among such losses the lower one shows only how fast outputs "
            "that are far off come down."
        )
        yield _Claim(sentence, True, 0)
    found: Dict[str, List[str]] = {"better": [], "worse": [], "": []}
    for name, regime in setting["regimes"].items():
        for task in TASKS if name != ALONE else ():
            if not shows_nothing(setting, name, task):
                ratio = regime["against_alone"][task]
                found[verdict(ratio)].append(f"{task} {WORDS[name]} ({shown(ratio)} times)")
    for word, which in found.items():
        what = f"{word} than the task alone:" if word else "any difference from the task alone for"
        if which:
            sentence = f"{title(setting)}: {what} {'; '.join(which)}."
            yield _Claim(sentence, bool(word), len(which))


def _claims_of_sizes(found: Report) -> Iterator[_Claim]:
    """Yields whether regimes have a bias toward a data set, from what `_size_bias` gave."""
    for name, bias in found["bias_toward_larger_set"].items():
        unequal = _unequal(found["settings"])
        if any(learned_nothing(setting, name, task) for setting in unequal for task in TASKS):
            sentence = (
                f"any bias toward the larger or the smaller data set in training {WORDS[name]}: a "
                "task learned nothing there."
            )
            yield _Claim(sentence, False, 0)
            continue
        words = {
            "worse": "a bias toward the larger data set",
            "better": "a bias toward the smaller data set",
            "": "any bias toward the larger or the smaller data set",
        }[verdict(bias)]
        sentence = (
            f"{words} in training {WORDS[name]}: its harm, the loss against the task alone, is "
            f"{shown(bias)} times as large for the task with the smaller set."
        )
        yield _Claim(sentence, bool(verdict(bias)))


def _claims_of_last_task(setting: Dict[str, Any]) -> Iterator[_Claim]:
    """Yields whether regimes have a bias toward the task trained last."""
    for name, regime in setting["regimes"].items():
        for steps, ratios in regime["other_task_last"].items():
            count = "one last step" if steps == "1" else f"{steps} last steps"
            for task in TASKS:
                if not learned_nothing(setting, name, task):
                    biased = verdict(ratios[task]) == "worse"
                    sentence = (
                        f"{'a' if biased else 'any'} bias toward the last task trained, after "
                        f"training {WORDS[name]}: with {count} of the other task, the loss of "
                        f"{task} is {shown(ratios[task])} times what it is with {count} of its own."
                    )
                    yield _Claim(sentence, biased)


def nothing_learned(setting: Dict[str, Any]) -> Dict[str, str]:
    """Returns the tasks that learned nothing, with their regimes. Both are one entry if in all."""
    where: Dict[str, str] = {}
    for task in TASKS:
        nothing = [name for name in setting["regimes"] if learned_nothing(setting, name, task)]
        if len(nothing) == len(setting["regimes"]):
            where[task] = "in any regime"
        elif nothing:
            where[task] = ", ".join(WORDS[name] for name in nothing)
    if list(where.values()) == ["in any regime"] * len(TASKS):
        return {" and ".join(TASKS): "in any regime"}
    return where


def learned_nothing(setting: Dict[str, Any], regime: str, task: str) -> bool:
    """Returns True if this regime leaves the loss of a task above that of a constant guess."""
    return verdict(setting["regimes"][regime]["against_guess"][task]) == "worse"


def shows_nothing(setting: Dict[str, Any], regime: str, task: str) -> bool:
    """Returns True if comparing a regime with the task alone shows nothing about learning.

    A task that learned nothing in this regime cannot be better for it, and cannot be worse if it
    learned nothing alone either.
    """
    against_alone = verdict(setting["regimes"][regime]["against_alone"][task])
    no_better = against_alone == "better" or learned_nothing(setting, ALONE, task)
    return no_better and learned_nothing(setting, regime, task)


def verdict(ratio: Dict[str, Any]) -> str:
    """Returns "better" or "worse" if the interval of a ratio of losses excludes 1, or ""."""
    if ratio["high"] < 1:
        return "better"
    return "worse" if ratio["low"] > 1 else ""


def title(setting: Dict[str, Any]) -> str:
    """Returns data, start and rate in words."""
    return f"{setting['data']}, {_start_and_rate(setting)}"


def _start_and_rate(setting: Dict[str, Any]) -> str:
    return f"{setting['start']} start, learning rate {setting['learning_rate']:g}"


def shown(figure: Dict[str, Any]) -> str:
    """Returns a figure with its interval."""
    return f"{_number(figure['median'])} [{_number(figure['low'])}, {_number(figure['high'])}]"


def _number(value: float) -> str:
    digits = 3 if abs(value) < 10 else (1 if abs(value) < 1000 else 0)
    return f"{value:,.{digits}f}"


def text(found: Report) -> str:
    """Returns the headline, the tables, what the figures support and what they do not.

    Args:
      found: From `comparison_report.report`.
    """
    opening = (
        f"{found['seeds']} seeds, {found['steps']} steps of each task, {found['batch']} rows a "
        "step. Losses are sum of squares / 2 a row, on rows held out. Each figure is the median of "
        "the seeds. The interval in brackets holds the median of all seeds with "
        f"{found['interval']['coverage']:.1%}, whatever the distribution (order statistics). "
        "Multiples are taken seed by seed. Every regime trains each task for as many steps as "
        "alone. Only alternating in proportion to the data divides the same number of steps "
        "unevenly. A silent output is 0 for every row held out."
    )
    lines = textwrap.wrap(found["headline"]["text"], _WIDTH)
    lines += ["", *textwrap.wrap(opening, _WIDTH), *_direct(found)]
    for setting in found["settings"]:
        Y1, Y2 = (setting["rows"][task] for task in TASKS)
        counts = f"{Y1} of each task" if Y1 == Y2 else f"{Y1} of Y1, {Y2} of Y2"
        lines += ["", title(setting), f"rows to train on: {counts}"]
        for task in TASKS:
            lines += _table(setting, task)
    lines += _biases(found)
    for heading, key in (
        ("What these figures support:", "supports"),
        ("What they do not show:", "does_not_support"),
    ):
        lines += ["", heading]
        for sentence in found[key]:
            lines += textwrap.wrap(f"- {sentence}", _WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def _direct(found: Report) -> List[str]:
    direct = [setting for setting in found["settings"] if setting["alternate_against_joint"]]
    if not direct:
        return []
    lines = ["", "Alternate against joint: loss when trained alternately by coin, as a multiple of"]
    lines += ["the loss when trained jointly", _row(f"  {direct[0]['data']}", *TASKS)]
    for setting in direct:
        figures = [shown(setting["alternate_against_joint"][task]) for task in TASKS]
        lines.append(_row(f"  {_start_and_rate(setting)}", *figures))
    return lines


def _table(setting: Dict[str, Any], task: str) -> List[str]:
    lines = [_row(task, "loss", "times alone", "accuracy", "silent", "steps", "seconds")]
    lines.append(_row("  a constant guess", shown(setting["constant_guess"][task])))
    for name, regime in setting["regimes"].items():
        accuracy = regime["accuracy"][task]
        silent = regime["silent_outputs"][task]["values"]
        lines.append(
            _row(
                f"  {WORDS[name]}",
                shown(regime["loss"][task]),
                "" if name == ALONE else shown(regime["against_alone"][task]),
                "" if accuracy is None else shown(accuracy),
                f"{min(silent)}-{max(silent)}",
                f"{regime['steps'][task]['median']:.0f}",
                f"{regime['seconds']['median']:.2f}",
            )
        )
    return lines


def _biases(found: Report) -> List[str]:
    lines = []
    if found["bias_toward_larger_set"]:
        lines += ["", "Bias toward the larger data set: loss against the task alone,"]
        lines += ["the task of the smaller set as a multiple of that of the larger set"]
        for name, bias in found["bias_toward_larger_set"].items():
            lines.append(_row(f"  {WORDS[name]}", shown(bias)))
    if any(regime["other_task_last"] for regime in found["settings"][0]["regimes"].values()):
        lines += ["", "Bias toward the last task trained: loss when the other task had the last"]
        lines += ["steps, as a multiple of the loss when the task itself had them"]
        lines.append(_row("  from the state that was reached", "Y1", "Y2"))
    for name, regime in found["settings"][0]["regimes"].items():
        for steps, ratios in regime["other_task_last"].items():
            label = f"  {WORDS[name]}, then {steps}"
            lines.append(_row(label, shown(ratios["Y1"]), shown(ratios["Y2"])))
    return lines


def _row(label: str, loss: str, alone: str = "", accuracy: str = "", *rest: str) -> str:
    cells = f"{label:<40}{loss:<25}{alone:<23}{accuracy:<23}"
    return (cells + "".join(f"{cell:<8}" for cell in rest)).rstrip()


def plot(found: Report, path: str) -> None:
    """Draws the losses of a report, beside training alone, into a PNG or SVG file.

    Args:
      found: From `comparison_report.report`.
      path: Ends with .png or .svg.

    Raises:
      InputError: The path cannot be written.
      MissingExtra: matplotlib is not installed.
    """
    settings = found["settings"]
    heights = [len(setting["regimes"]) - 1 for setting in settings]
    headline = textwrap.wrap(found["headline"]["text"], 100)
    height = 0.42 * sum(heights) + 0.75 * len(settings) + 0.18 * len(headline) + 1.4
    figure = style.new_figure(8, height)
    grid = figure.add_gridspec(len(settings), 1, height_ratios=heights)
    axes: Any = None
    for row, setting in enumerate(settings):
        axes = figure.add_subplot(grid[row], sharex=axes)
        _draw(axes, setting)
    ticker = require("matplotlib.ticker", "plot")
    low, high = axes.get_xlim()
    if high < 7 * low:  # too narrow to hold three of 0.5, 1, 2, 5, ...
        axes.xaxis.set_major_locator(ticker.MaxNLocator(6, steps=(1, 2, 5, 10)))
    else:
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    figure.supxlabel(
        "Loss on rows held out, as a multiple of the loss of the task when trained alone "
        "(logarithmic).\n"
        f"Marker: median of {found['seeds']} seeds. Line: the interval that holds the median of "
        f"all seeds with {found['interval']['coverage']:.1%}.\n"
        "Hollow and dotted: the task learned nothing there, and the multiple shows nothing about "
        "learning.",
        fontsize=9,
    )
    figure.legend(*figure.axes[0].get_legend_handles_labels(), frameon=False, loc="upper right")
    figure.suptitle("\n".join(headline), x=0.02, ha="left", fontsize=9)
    figure.tight_layout()
    style.save(figure, path, " ".join(headline))


def _draw(axes: Any, setting: Dict[str, Any]) -> None:
    regimes = [name for name in setting["regimes"] if name != "alone"]
    for task, offset in (("Y1", -0.16), ("Y2", 0.16)):
        look = {**style.LOOKS[task], "linestyle": "none"}
        for place, name in enumerate(regimes):
            ratio = setting["regimes"][name]["against_alone"][task]
            empty = shows_nothing(setting, name, task)
            faint = {"alpha": 0.5, "linestyle": ":"} if empty else {}
            ends = [ratio["low"], ratio["high"]]
            axes.plot(ends, [place + offset] * 2, **{"color": look["color"], **faint})
            hollow = {"markerfacecolor": "white", "alpha": 0.5} if empty else {}
            axes.plot(ratio["median"], place + offset, **{**look, **hollow})
        axes.plot([], [], label=f"task {task}", **look)
    axes.axvline(1, color="#666666", linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_yticks(range(len(regimes)))
    axes.set_yticklabels([WORDS[name] for name in regimes])
    axes.set_ylim(len(regimes) - 0.5, -0.5)
    lines = [
        setting["data"],
        _start_and_rate(setting),
        *(
            f"NOTHING LEARNED of {tasks} {where} (loss above a constant guess)"
            for tasks, where in nothing_learned(setting).items()
        ),
    ]
    # Matplotlib would read $ in the name of a file as a formula.
    axes.set_title("\n".join(lines).replace("$", r"\$"), loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
