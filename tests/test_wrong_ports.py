"""Wrong ports that the check did not know when they were written fail, and correct ones pass."""

import collections
import importlib.util
from typing import Any, ClassVar, Dict

import numpy as np
import pytest
from wrong_ports import CORRECT, KINDS, WRONG, edit, named_rightly, names
from wrong_ports.base import Plain

from tf1_mtl.baseline import check, check_case, golden_names
from tf1_mtl.baseline.stages import STAGES

pytestmark = pytest.mark.usefixtures("patient")

#: All but the 1,000 steps.
SHORT = tuple(name for name in golden_names() if name != "joint-1000")
#: Goldens in which most mistakes show. The slow tests are checked on these.
FEW = (
    "alternate",
    "growing-and-shrinking",
    "small-gradients",
    "two-data-sets",
    "zero-and-dead-units",
)
#: What is told from other mistakes by another golden.
NEEDS_MORE = {
    "clip-norm-joint",
    "feeds-as-pixels",
    "feeds-tenth",
    "halved-every-3",
    "inverse-decay-0.00077",
    "inverse-decay-0.001",
    "rate-0.0007-epsilon-3e-6",
    "softmax-after-head-1",
}
#: What the default suite runs: the forward pass, an optimizer, and what a port returns.
SAMPLE = {
    "no-relu-head-2",
    "epsilon-1e-7-in-Y2-op",
    "head-1-shown-late",
}
#: What the diagnosis does not find.
NOT_NAMED = {
    "absolute-task-2-no-correction-Y1-bias-shared",
    "bfloat16-rate",
    "pytorch-StepFirst",
}
#: The extra `ports` is installed as a whole or not at all.
EXTRA = ("torch", "jax", "optax", "keras")
MISSING = [name for name in EXTRA if importlib.util.find_spec(name) is None]


def entries(among):
    """Returns the entries as parameters. Those outside of the sample are slow."""
    return [
        pytest.param(entry, id=entry.id, marks=[] if entry.id in SAMPLE else [pytest.mark.slow])
        for entry in among
    ]


def load(entry):
    """Returns the port of an entry, or skip where its framework is missing."""
    if MISSING and entry.framework not in ("numpy", "tensorflow1"):
        pytest.skip(f"no {', '.join(MISSING)}: pip install 'tf1-mtl[ports]'")
    return entry.load()


@pytest.mark.parametrize("entry", entries(WRONG))
def test_wrong_ports_fail_and_are_named(entry):
    port = load(entry)
    with np.errstate(all="ignore"):
        report = check(port, SHORT if entry.id in SAMPLE | NEEDS_MORE else FEW)
    assert not report.passed, entry.id
    assert report.dtypes or report.first.stage in STAGES, report
    if entry.id in NOT_NAMED:  # a wrong name would be worse than none
        assert not report.diagnosis.edits, report
    elif report.diagnosis or report.dtypes:
        assert named_rightly(entry, names(report)), report
    else:  # the message states what is wrong, and nothing is searched
        assert report.first.stage == "dtype and shape", report


@pytest.mark.slow
def test_biases_that_start_at_random_numbers_are_found():
    """No two such ports do the same, and no model has their numbers."""

    class Unseeded(Plain):
        biases: ClassVar[Dict[str, Any]] = {"Relu": 0.0, "Relu_2": 0.0}

        def __init__(self, *weights):
            super().__init__(*weights)
            for name, value in self.w.items():
                if name.startswith("bias"):
                    drawn = np.random.default_rng().uniform(-0.3, 0.3, value.shape)
                    self.w[name] = drawn.astype(np.float32)

        def loss(self, name, output, label):
            loss, slope = super().loss(name, output, label)
            return loss * np.float32(3), slope * np.float32(3)

    report = check(Unseeded, SHORT)
    assert report.ids == ("not-repeatable", "bias-added", "loss-scaled")
    biases, scaled = report.diagnosis.edits
    assert set(biases.places) == {"Relu", "Relu_2"}
    assert scaled.value == pytest.approx(3) and set(scaled.places) == {"L2Loss", "L2Loss_1"}
    assert "unknown values" in str(report)


def test_nine_in_ten_are_named():
    assert {entry.id for entry in WRONG} >= NOT_NAMED
    assert len(NOT_NAMED) <= len(WRONG) / 10


@pytest.mark.parametrize("entry", entries(CORRECT))
def test_correct_ports_pass(entry):
    port = load(entry)
    failed = [
        result
        for result in (check_case(port, case) for case in golden_names())
        if not result.passed
    ]
    assert not failed, failed[0]


def test_the_collection_is_large_and_covers_every_kind():
    ids = collections.Counter(entry.id for entry in WRONG + CORRECT)
    assert set(ids.values()) == {1} and set(ids) >= SAMPLE | NEEDS_MORE
    assert len(WRONG) >= 150 and len(CORRECT) >= 20
    kinds = {e.kind for entry in WRONG for answer in entry.answers for e in answer}
    # The article clips nothing, and has neither RMSProp nor constants: see
    # `test_mistakes_in_scripts.py`.
    assert kinds == set(KINDS) - {"clipping missing", "constant", "rho"}
    several = [entry for entry in WRONG if min(map(len, entry.answers)) > 1]
    assert len(several) >= 25
    assert sum(entry.framework != "numpy" for entry in WRONG) >= 30
    assert all(entry.answers for entry in WRONG) and not any(e.answers for e in CORRECT)


def test_named_rightly_compares_kinds_places_and_values():
    by_id = {entry.id: entry for entry in WRONG + CORRECT}
    entry = by_id["epsilon-1e-7"]
    everywhere = edit("epsilon", ("Optimiser", "Y1_op", "Y2_op"), 1.001e-7)
    by_variable = [edit("epsilon", name, 1e-7) for name in ("share_W", "share_Y1", "share_Y2")]
    assert named_rightly(entry, [[everywhere]])
    assert named_rightly(entry, [by_variable])
    assert named_rightly(entry, [[edit("gradient scaled", ("Optimiser", "Y1_op", "Y2_op"), 0.1)]])
    assert not named_rightly(entry, [])
    assert not named_rightly(entry, [[edit("epsilon", "Y1_op", 1e-7)]])
    assert not named_rightly(entry, [[edit("epsilon", ("Optimiser", "Y1_op", "Y2_op"), 1e-6)]])
    assert not named_rightly(entry, [[everywhere, edit("amsgrad", "Y1_op")]])
    assert not named_rightly(entry, [[edit("amsgrad", "Y1_op")], [everywhere]])
    assert named_rightly(by_id["m-bfloat16"], []) and named_rightly(by_id["plain"], [])
    assert not named_rightly(by_id["plain"], [[everywhere]])
