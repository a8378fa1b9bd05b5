"""The comparison of regimes: the same weights and rows, intervals, and no verdict beyond them."""

import json
import re
import sys
import xml.etree.ElementTree
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from command import done, refused, run
from needs import needs_matplotlib, needs_scikit_learn

from tf1_mtl.data import make_data
from tf1_mtl.errors import InputError, MissingExtra
from tf1_mtl.teaching import comparison, comparison_report
from tf1_mtl.teaching.comparison import Outcome, Setting, schedule, settings_of
from tf1_mtl.teaching.comparison_report import interval, rank_and_coverage


def one_set(rows=40):
    rng = np.random.RandomState(0)
    return {
        "X": rng.rand(rows, 5),
        "Y1": rng.rand(rows, 3),
        "Y2": np.eye(2)[rng.randint(2, size=rows)],
    }


def two_sets(rows_1=80, rows_2=20):
    rng = np.random.RandomState(0)
    return {
        "X1": rng.rand(rows_1, 5),
        "Y1": rng.rand(rows_1, 3),
        "X2": rng.rand(rows_2, 5),
        "Y2": rng.rand(rows_2, 2),
    }


def compare(arrays):
    """Four steps of each task, from two seeds, under the first two settings."""
    settings = settings_of(make_data(arrays), "data")[:2]
    return settings, list(comparison.trainings(settings, 4, 2))


@pytest.fixture(scope="module")
def of_one_set():
    return compare(one_set())


@pytest.fixture(scope="module")
def of_two_sets():
    return compare(two_sets())


# The same weights, the same rows


@pytest.fixture
def recorded(monkeypatch):
    """What each training was fed, and the weights that it started from."""
    trainings = []
    real = comparison.train

    def train(net, session, batches):
        batches = list(batches)
        weights = (net.shared_layer_weights, net.Y1_layer_weights, net.Y2_layer_weights)
        trainings.append((batches, session.run(weights)))
        return real(net, session, batches)

    monkeypatch.setattr(comparison, "train", train)
    return trainings


def test_all_regimes_start_from_the_same_weights_and_feed_a_task_the_same_rows(recorded):
    setting = settings_of(make_data(one_set()), "data")[0]._replace(last_task=False)
    list(comparison.trainings([setting], steps=6, seeds=1))
    assert len(recorded) == 5  # each task alone, by coin, in turns, jointly
    for batches, start in recorded:
        for weights, first in zip(start, recorded[0][1]):
            assert np.array_equal(weights, first)
        for task, alone in (("Y1", recorded[0][0]), ("Y2", recorded[1][0])):
            own = [b for b in batches if b.task in (task, "joint")]
            for batch, batch_alone in zip(own, alone):
                assert np.array_equal(batch.X, batch_alone.X)
                assert np.array_equal(getattr(batch, task), getattr(batch_alone, task))


def train_alone(settings, steps, seeds):
    alone = [setting._replace(regimes=("alone",)) for setting in settings]
    list(comparison.trainings(alone, steps, seeds))


def test_seeds_differ_in_start_and_rows(recorded):
    train_alone(settings_of(make_data(one_set()), "data")[:1], steps=2, seeds=2)
    (first, start), (other, other_start) = recorded[0], recorded[2]
    assert not np.array_equal(start[0], other_start[0])
    assert not np.array_equal(first[0].X, other[0].X)


def test_the_start_is_the_articles_or_small_and_centred(recorded):
    settings = settings_of(make_data(one_set()), "data")
    starts = {(setting.start, setting.learning_rate) for setting in settings}
    assert starts == set(product(("centred", "article"), (0.001, 0.01)))
    train_alone(settings[::2], steps=1, seeds=1)
    centred, article = recorded[0][1], recorded[2][1]
    assert all(w.min() >= 0 and w.max() < 1 and w.mean() > 0.4 for w in article)
    limits = [np.sqrt(6 / (rows + columns)) for rows, columns in ((5, 20), (20, 3), (20, 2))]
    assert all(abs(w).max() <= limit and w.min() < 0 < w.max() for w, limit in zip(centred, limits))


def test_schedules_take_each_task_as_often_as_said():
    rows = {"Y1": 400, "Y2": 100}
    assert schedule("Y1", 3, rows, 0) == ["Y1"] * 3
    assert schedule("joint", 3, rows, 0) == ["joint"] * 3
    assert schedule("turns", 2, rows, 0) == ["Y1", "Y2", "Y1", "Y2"]
    # Within four standard deviations of 2,000 tosses of each coin.
    for regime, share in (("random", 0.5), ("proportional", 0.8)):
        tasks = schedule(regime, 1000, rows, 0)
        deviation = np.sqrt(share * (1 - share) / 2000)
        assert len(tasks) == 2000
        assert abs(tasks.count("Y1") / 2000 - share) < 4 * deviation
    assert schedule("random", 20, rows, 0) != schedule("random", 20, rows, 1)


def test_rows_held_out_are_never_trained_on():
    for arrays in (one_set(), two_sets()):
        data = make_data(arrays)
        seen, unseen = comparison.held_out(data)(np.random.RandomState(0))
        for name in ("X1", "X2"):
            ours = {row.tobytes() for row in getattr(seen, name)}
            theirs = {row.tobytes() for row in getattr(unseen, name)}
            everything = getattr(data, name)
            assert not ours & theirs
            assert len(ours) + len(theirs) == len(everything)
            assert len(theirs) == len(everything) // 4
        assert seen.one_set == unseen.one_set == data.one_set


def test_unequal_sets_share_no_row():
    data = make_data(one_set(100))
    for larger, sizes in (("Y1", (60, 15)), ("Y2", (15, 60))):
        seen, unseen = comparison.unequal_sets(data, larger)(np.random.RandomState(0))
        assert not seen.one_set and (len(seen.X1), len(seen.X2)) == sizes
        sets = [{row.tobytes() for row in x} for x in (seen.X1, seen.X2, unseen.X1)]
        assert sum(map(len, sets)) == len(set().union(*sets)) == 100
        for x, y, label in ((seen.X1, seen.Y1, data.Y1), (seen.X2, seen.Y2, data.Y2)):
            where = [int(np.flatnonzero((row == data.X1).all(axis=1))[0]) for row in x]
            assert np.array_equal(y, label[where])


@pytest.mark.slow
@pytest.mark.runtime
def test_the_same_seeds_give_the_same_figures(of_two_sets):
    first, second = (
        [o._replace(seconds=0.0) for o in outcomes]
        for _, outcomes in (of_two_sets, compare(two_sets()))
    )
    assert first == second


# What is measured


def test_loss_accuracy_and_silent_outputs_by_hand():
    labels = np.array([[1, 0], [0, 1], [0, 1], [1, 0]], np.float32)
    outputs = np.array([[0.5, 0], [0.1, 0], [0, 0], [0.9, 0]], np.float32)
    measured = comparison._measured(labels, outputs)
    squares = 0.25 + (0.01 + 1) + 1 + 0.01
    assert measured.loss == pytest.approx(squares / 2 / 4, rel=1e-6)
    assert (measured.accuracy, measured.silent) == (0.5, 1)
    assert comparison._measured(labels * 2, outputs).accuracy is None
    assert comparison._measured(labels[:, :1], outputs[:, :1]).accuracy is None


@pytest.mark.slow
@pytest.mark.runtime
def test_regimes_and_accuracy_follow_the_data(of_one_set, of_two_sets):
    settings, outcomes = of_one_set
    assert settings[0].regimes == ("alone", "random", "turns", "joint")
    assert all(o.accuracy["Y1"] is None and 0 <= o.accuracy["Y2"] <= 1 for o in outcomes)
    settings, outcomes = of_two_sets
    assert settings[0].regimes == ("alone", "random", "turns", "proportional")
    assert settings[0].larger == "Y1"
    assert "joint" not in {o.regime for o in outcomes}
    assert outcomes[0].rows == {"Y1": 60, "Y2": 15}


@pytest.mark.slow
@pytest.mark.runtime
def test_training_lowers_the_loss_and_the_last_task_gains():
    """From one state, 50 more steps of a task make it better than 50 of the other would."""
    setting = settings_of(make_data(one_set(200)), "data")[0]
    setting = setting._replace(regimes=("turns",), learning_rate=0.01)
    short, long = (next(comparison.trainings([setting], n, 1)) for n in (1, 100))
    assert long.loss["Y1"] < short.loss["Y1"]
    assert short.last[50]["Y1"] > 1 and short.last[50]["Y2"] > 1
    assert set(short.last) == {1, 50}


# Intervals


@pytest.mark.parametrize("seeds", range(1, 13))
def test_coverage_is_exact(seeds):
    """Each seed lies below or above the true median, as a coin falls: count all ways."""
    rank, coverage = rank_and_coverage(seeds)

    def covered(r):
        below = [sum(sides) for sides in product((0, 1), repeat=seeds)]
        return Fraction(sum(r <= count <= seeds - r for count in below), 2**seeds)

    assert coverage == pytest.approx(float(covered(rank)))
    if seeds >= 6:
        assert coverage >= 0.95
        assert covered(rank + 1) < Fraction(95, 100)


def test_an_interval_by_hand():
    values = [3.0, 1.0, 2.0, 9.0, 5.0, 4.0]
    assert interval(values) == {"median": 3.5, "low": 1.0, "high": 9.0, "values": values}
    assert rank_and_coverage(9)[0] == 2
    nine = interval([float(n) for n in range(9)])
    assert (nine["low"], nine["high"]) == (1.0, 7.0)


# Verdicts, on outcomes made up so that the answer is known


def made_up(factors, seeds=6, larger=("Y1", "Y2"), guess=1.0):
    """Alone, both tasks have a loss of 0.1. A regime has factors for the smaller and larger set."""
    settings, outcomes = [], []
    for which in larger:
        smaller = "Y2" if which == "Y1" else "Y1"
        regimes = ("alone", "random", *factors)
        setting = Setting(f"{which} larger", None, regimes, ("the one", "the other"), larger=which)
        settings.append(setting)
        for seed in range(seeds):
            for regime in setting.regimes:
                small, large = factors.get(regime, (1, 1))
                loss = {smaller: 0.1 * small * (1 + seed / 100), which: 0.1 * large}
                if regime == "alone":
                    loss = {smaller: 0.1 * (1 + seed / 100), which: 0.1}
                outcomes.append(
                    Outcome(
                        setting.name, seed, regime, {"Y1": 8, "Y2": 4}, {"Y1": 1, "Y2": 1}, 0.5,
                        loss, {"Y1": guess, "Y2": guess}, {"Y1": None, "Y2": None},
                        {"Y1": 0, "Y2": 0},
                        {50: {"Y1": 1.5, "Y2": 1.0}} if regime == "turns" else {},
                    )
                )  # fmt: skip
    return settings, outcomes


def headline(first, second, seeds=6, guess=1.0):
    """The headline where alternate training has so many times the loss of joint training."""
    settings, outcomes = made_up({"joint": (1, 1)}, seeds, ("Y1",), guess)
    times = {"Y1": first, "Y2": second}
    outcomes = [
        o._replace(loss={task: (1 + o.seed) * 0.1 * times[task][o.seed] for task in times})
        if o.regime == "random"
        else o._replace(loss=dict.fromkeys(times, (1 + o.seed) * 0.1))
        for o in outcomes
    ]
    found = comparison_report.report(settings, outcomes, 1)
    assert comparison_report.text(found).startswith("Alternate or joint? ")
    return found["headline"]


LESS, MORE = [0.5, 0.6, 0.7, 0.8, 0.9, 0.99], [2.0, 1.9, 1.8, 1.7, 1.6, 1.01]
MIXED = [0.5, 0.5, 0.5, 0.5, 0.5, 1.1]


@pytest.mark.parametrize(
    "first, second, answer, words",
    [
        (LESS, LESS, "alternate", "Alternate training is better for Y1 (the one) and Y2"),
        (MORE, MORE, "joint", "Joint training is better for Y1 (the one) and Y2 (the other)"),
        (MORE, MIXED, "joint", "6 seeds do not decide for Y2 (the other)"),
        (LESS, MORE, "depends on the task", "and joint training is better for Y2 (the other)"),
        (MIXED, MIXED, "undecided", "6 seeds do not decide for Y1 (the one) and Y2"),
    ],
)  # fmt: skip
def test_the_headline_compares_alternate_and_joint_seed_by_seed(first, second, answer, words):
    """The losses of the seeds overlap: only seed by seed is one always lower."""
    found = headline(first, second)
    assert found["answer"] == answer and words in found["text"]
    assert len(re.findall(r"[.?] [A-Z6]|\.$", found["text"])) == 5  # the question, four sentences
    assert found["coverage"] == pytest.approx(1 - 2 * 2 / 64)
    median = comparison_report.shown(interval(first))
    assert f"Y1 has {median} times its loss when trained jointly" in found["text"]
    assert "No other start or learning rate was tried" in found["text"]


def test_the_headline_decides_nothing_from_too_few_seeds_or_without_learning():
    found = headline(LESS, LESS, seeds=5)
    assert found["answer"] == "undecided" and "5 seeds are too few" in found["text"]
    found = headline(LESS, MORE, guess=0.01)
    assert found["answer"] == "nothing learned" and "nothing was learned" in found["text"].lower()
    # The guess lies between what joint and alternate training reach: that decides.
    assert headline([0.01] * 6, [0.01] * 6, guess=0.05)["answer"] == "alternate"


@pytest.mark.slow
@pytest.mark.runtime
def test_rows_with_one_label_are_not_told_to_train_jointly(of_two_sets):
    settings, outcomes = of_two_sets
    found = comparison_report.report(settings, outcomes, 4)["headline"]
    assert found["question"] == "alternate or alone?"
    assert found["text"].startswith("Alternate or alone, as no row has both labels? ")
    assert "times its loss when trained alone" in found["text"]


def test_the_headline_counts_the_answers_at_other_starts_and_rates(of_one_set):
    found = comparison_report.report(*of_one_set, 4)
    headline = found["headline"]
    assert headline["answers_at_other_starts_and_rates"] == ["undecided"]
    others = "Of 1 other starts and learning rates the answer is 'undecided' at 1"
    assert others in headline["text"]
    text = comparison_report.text(found)
    for setting in found["settings"]:
        for task in ("Y1", "Y2"):
            assert comparison_report.shown(setting["alternate_against_joint"][task]) in text


def test_quick_gives_the_same_figures(of_one_set):
    settings, outcomes = of_one_set
    quick = comparison.quick(settings)
    found = comparison_report.report(quick, list(comparison.trainings(quick, 4, 2)), 4)
    (setting,) = found["settings"]
    full = comparison_report.report(settings, outcomes, 4)["settings"][0]
    assert setting["alternate_against_joint"] == full["alternate_against_joint"]
    assert list(setting["regimes"]) == ["alone", "random", "joint"]
    assert setting["regimes"]["joint"]["loss"] == full["regimes"]["joint"]["loss"]


def test_what_the_tasks_are_in_words(of_one_set):
    (plain, *_), _ = of_one_set
    assert plain.tasks == ("3 numbers a row", "one of 2 classes")
    assert comparison._in_words(np.ones((4, 1))) == "one number a row"


def test_a_bias_toward_the_larger_set_is_found_and_none_is_not():
    found = comparison_report.report(*made_up({"turns": (1.3, 1.3), "proportional": (2, 0.5)}), 1)
    bias = found["bias_toward_larger_set"]
    assert bias["proportional"]["median"] == pytest.approx(4)
    assert bias["turns"]["median"] == pytest.approx(1)
    assert any("a bias toward the larger data set" in s for s in found["supports"])
    assert any("any bias toward the larger" in s for s in found["does_not_support"])
    assert not any("sizes swapped" in s for s in found["does_not_support"])


def test_one_set_of_sizes_cannot_tell_size_from_task():
    made = made_up({"proportional": (2, 0.5)}, larger=("Y1",))
    found = comparison_report.report(*made, 1)
    assert any("sizes swapped" in s for s in found["does_not_support"])


def test_better_worse_and_last_task():
    found = comparison_report.report(*made_up({"turns": (0.5, 2)}, larger=("Y1",)), 1)
    text = "\n".join(found["supports"])
    assert "better than the task alone: Y2 alternately in strict turns (0.500" in text
    assert "worse than the task alone: Y1 alternately in strict turns (2.000" in text
    assert "with 50 last steps of the other task, the loss of Y1 is 1.500" in text
    assert "the loss of Y2 is 1.000" in "\n".join(found["does_not_support"])


def test_where_nothing_was_learned_no_regime_is_called_better():
    found = comparison_report.report(*made_up({"turns": (0.5, 0.5)}, guess=0.01), 1)
    assert all("nothing was learned" in s for s in found["supports"][:2])
    assert not any("better than" in s for s in found["supports"])


def one_task_that_learns(seeds=6):
    """Outcomes of a task Y1 that always loses to a constant guess, though less so in turns."""
    settings, outcomes = made_up({"turns": (0.5, 0.5), "joint": (0.9, 2)}, seeds, ("Y1",))
    return settings, [o._replace(guess={"Y1": 0.01, "Y2": 1.0}) for o in outcomes]


def test_a_task_that_loses_to_a_constant_guess_is_not_praised_for_the_other():
    found = comparison_report.report(*one_task_that_learns(), 1)
    supports = "\n".join(found["supports"])
    assert "nothing was learned of Y1 in any regime" in supports
    assert "better than the task alone: Y2 alternately in strict turns (0.500" in supports
    assert "Y1 alternately" not in supports and "Y1 jointly" not in supports
    assert "the loss of Y1 is" not in supports  # nor does it say what its last steps gain
    assert not any("larger data set in training" in sentence for sentence in found["supports"])
    assert any("a task learned nothing there" in s for s in found["does_not_support"])


def test_a_regime_in_which_a_task_learns_nothing_is_named():
    settings, outcomes = made_up({"turns": (1, 30), "joint": (1, 0.5)}, larger=("Y1",), guess=0.2)
    text = "\n".join(comparison_report.report(settings, outcomes, 1)["supports"])
    assert "nothing was learned of Y1 alternately in strict turns." in text
    assert "worse than the task alone: Y1 alternately in strict turns (30.0" in text
    assert "better than the task alone: Y1 jointly (0.500" in text


def test_fewer_than_six_seeds_support_nothing():
    found = comparison_report.report(*made_up({"turns": (0.5, 2)}, seeds=5), 1)
    assert found["supports"] == []
    assert "at least 6" in found["does_not_support"][0]


def test_the_text_holds_every_figure(of_one_set):
    found = comparison_report.report(*of_one_set, 4)
    text = comparison_report.text(found)
    for setting in found["settings"]:
        for regime in setting["regimes"].values():
            for task in ("Y1", "Y2"):
                assert comparison_report.shown(regime["loss"][task]) in text
    assert max(map(len, text.splitlines())) < 140


# The command


@pytest.fixture
def compared(tmp_path):
    """Returns the command that compares on these arrays."""

    def command(arrays, *options):
        np.savez(str(tmp_path / "data.npz"), **arrays)
        return ("compare", "--data", tmp_path / "data.npz", *options)

    return command


def test_json_quickly_with_progress(compared, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    options = ("--steps", 3, "--seeds", 2, "--json", "--quick")
    status, out, err = run(capsys, *compared(two_sets(), *options))
    found = json.loads(out)
    assert status == 0
    assert (found["steps"], found["seeds"], found["interval"]["coverage"]) == (3, 2, 0.5)
    assert found["headline"]["answer"] == "undecided"
    (setting,) = found["settings"]
    assert setting["data"] == "data.npz"
    assert len(setting["regimes"]["random"]["loss"]["Y1"]["values"]) == 2
    assert "\r1/4 trainings (25 %)" in err and "4/4 trainings (100 %)" in err


@needs_matplotlib
@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plot(compared, tmp_path, capsys, ending):
    picture = tmp_path / f"picture.{ending}"
    options = ("--steps", 2, "--seeds", 1, "--plot", picture)
    printed = done(capsys, *compared(one_set(), *options))
    assert picture.stat().st_size > 5000
    assert printed.startswith("Alternate or joint? ") and "constant guess" in printed
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name] == []


@pytest.fixture
def figures(monkeypatch):
    """The figures that would be saved."""
    saved = []
    monkeypatch.setattr(comparison_report.style, "save", lambda figure, *_: saved.append(figure))
    return saved


@needs_matplotlib
@pytest.mark.parametrize("span", [1.02, 1.3, 3, 100, 10000])
def test_every_axis_shows_where_one_is_and_how_far_it_reaches(figures, span):
    ratio = {"low": 1 / span, "median": 1.0, "high": span**0.5}
    against = {"Y1": ratio, "Y2": ratio}
    regimes = {
        name: {"against_alone": against, "against_guess": against} for name in ("alone", "joint")
    }
    setting = {"regimes": regimes, "data": "data", "start": "centred", "learning_rate": 0.1}
    found = {"settings": [setting] * 2, "seeds": 9, "interval": {"coverage": 0.99}}
    found["headline"] = {"text": "Alternate or joint? It depends. " * 6}
    comparison_report.plot(found, "picture.png")
    for axes in figures[0].axes:
        low, high = axes.get_xlim()
        shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert len(shown) >= 3 and any(abs(tick - 1) < 1e-9 for tick in shown)
        labels = [axes.xaxis.get_major_formatter()(tick) for tick in shown]
        assert len(set(labels)) == len(labels)


@needs_matplotlib
def test_a_panel_shows_where_nothing_was_learned(figures):
    comparison_report.plot(comparison_report.report(*one_task_that_learns(), 1), "picture.png")
    (axes,) = figures[0].axes
    assert "NOTHING LEARNED of Y1 in any regime" in axes.get_title("left")
    drawn = [
        line for line in axes.get_lines() if line.get_marker() in "os" and len(line.get_xdata())
    ]
    hollow = {line.get_marker(): line.get_markerfacecolor() == "white" for line in drawn}
    assert hollow == {"o": True, "s": False}  # Y1, Y2
    assert {line.get_alpha() for line in drawn} == {None, 0.5}


@pytest.mark.parametrize(
    "arrays, message",
    [
        (two_sets(80, 10), "a set has 10 rows, but should have at least 16"),
        ({"X": np.ones((20, 2))}, "the arrays are X, but should be X, Y1, Y2"),
    ],
)
def test_bad_data(compared, capsys, arrays, message):
    err = refused(capsys, *compared(arrays))
    assert err.startswith("tf1-mtl: ") and message in err


def test_labels_that_are_all_zero_do_no_harm(compared, capsys):
    arrays = dict(one_set(), Y1=np.zeros((40, 3)))
    out = done(capsys, *compared(arrays, "--steps", 2, "--seeds", 1, "--json", "--quick"))
    found = json.loads(out, parse_constant=pytest.fail)
    assert found["settings"][0]["constant_guess"]["Y1"]["median"] == 0
    assert comparison.ratio(0.0, 0.0) == 1


def test_outputs_that_overflow_are_refused(compared, capsys):
    arrays = dict(one_set(), X=np.full((40, 5), 1e30))
    arrays["Y1"] = arrays["Y1"] * 1e30
    assert "Scale X" in refused(capsys, *compared(arrays, "--steps", 9, "--seeds", 1))


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tf1-mtl\[plot\]'"):
        comparison.digits()


@needs_scikit_learn
def test_the_digits():
    data = comparison.digits()
    assert data.one_set and data.X1.shape == (1797, 64) and data.tasks == (10, 2)
    assert data.X1.min() == 0 and data.X1.max() == 1
    digit, has_loop = data.Y1.argmax(axis=1), data.Y2.argmax(axis=1)
    assert set(digit[has_loop == 1]) == {0, 6, 8, 9}
    assert set(digit[has_loop == 0]) == {1, 2, 3, 4, 5, 7}
    with pytest.raises(InputError):
        comparison.held_out(data._replace(X2=data.X2[:10]))


@pytest.mark.slow
@needs_scikit_learn
def test_the_articles_start_learns_nothing_of_the_digits_in_so_few_steps():
    """Its all-positive weights put the first outputs thousands of times too high."""
    settings = [s._replace(last_task=False) for s in comparison.settings_of_digits()]
    chosen = [s for s in settings if s.start == "article" or s is settings[0]]
    chosen = [s._replace(regimes=("alone", "joint")) for s in chosen if s.learning_rate == 0.001]
    outcomes = list(comparison.trainings(chosen, 300, 1))
    for outcome in outcomes:
        for task in ("Y1", "Y2"):
            times = outcome.loss[task] / outcome.guess[task]
            assert times > 100 if "article start" in outcome.setting else times < 1.5


@needs_matplotlib
@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize("name", ["$\\foo$.npz", "odd \udcff.npz", "bell \x07.npz"])
def test_any_name_can_be_drawn(name, tmp_path, capsys):
    data, drawing = str(tmp_path / name), str(tmp_path / "o.svg")
    np.savez(data, **two_sets())
    options = ("--quick", "--steps", 3, "--seeds", 2, "--plot", drawing)
    done(capsys, "compare", "--data", data, *options)
    xml.etree.ElementTree.parse(drawing)
