"""Where one mistake is unknown, the others are named, and the report says what they explain."""

import json

import numpy as np
import pytest
from wrong_ports.base import LINEAR, RELU, Plain

from tf1_mtl.baseline import cases_of, check
from tf1_mtl.baseline.diagnosis import diagnose
from tf1_mtl.baseline.diagnosis.edits import Edit
from tf1_mtl.baseline.diagnosis.mutation import Forward, Mutation
from tf1_mtl.baseline.diagnosis.staged_search import StagedSearch
from tf1_mtl.baseline.diagnosis.update_search import Updates
from tf1_mtl.baseline.port_run import run_port

CASES = ["two-data-sets", "small-gradients", "zero-and-dead-units"]


class OtherLoss(Plain):
    """The loss of task 1 weighs each square by the cosine of its label."""

    def loss(self, name, output, label):
        if name != "L2Loss":
            return super().loss(name, output, label)
        error, weights = output - label, 1 + np.float32(0.3) * np.cos(label)
        return np.sum(error * error * weights) / np.float32(2), error * weights


class OtherGradient(Plain):
    """Each element of a gradient of `share_Y1` is multiplied by another number."""

    changed_weights = ("share_Y1",)

    def changed(self, optimizer, gradients):
        found = dict(super().changed(optimizer, gradients))
        for name in {*self.changed_weights} & {*found}:
            waves = np.sin(np.arange(found[name].size, dtype=np.float32))
            found[name] = found[name] * (1 + waves.reshape(found[name].shape) / 5)
        return found


def made(base, **changes):
    return type("Port", (base,), changes)


@pytest.fixture
def checked(monkeypatch):
    """Checks a port as if the search for what explains all of it had found no time."""
    explained = diagnose._explained

    def ended(search, is_right):
        if not is_right:
            raise diagnose.OutOfTime
        return explained(search, is_right)

    monkeypatch.setattr(diagnose, "_explained", ended)
    monkeypatch.setattr(diagnose, "SHARE_OF_A_PART", 0.5)
    return lambda port: check(port, CASES, seconds=40.0)


@pytest.mark.slow
def test_a_loss_is_unknown_and_the_optimizer_of_the_other_task_is_named(checked):
    report = checked(made(OtherLoss, epsilon={"Y2_op": 1e-7}))
    assert report.ids == ("epsilon", "unknown")
    (edit,) = report.diagnosis.edits
    assert (edit.places, edit.value) == (("Y2_op",), 1e-7)
    text = str(report)
    assert "diagnosis: a part is explained. With\n  epsilon: " in text
    assert (
        "\nthe recorded graph does the same in\n  updates of share_W and share_Y2 in Y2\n" in text
    )
    assert "\nNo known mistake explains the rest" in text
    assert "  loss of Y1: " in text and "updates of share_Y1 in Y1: " in text
    assert "  updates of share_Y2 in Y2: " not in text  # it is explained
    found = json.loads(report.to_json())["diagnosis"]
    assert found["explained"] == [["Y2", "share_W"], ["Y2", "share_Y2"]]


@pytest.mark.slow
def test_a_loss_is_unknown_and_two_mistakes_of_the_other_task_are_named(checked):
    port = made(OtherLoss, activations={"Relu_2": LINEAR}, beta1={"Y2_op": 0.8})
    found = checked(port)
    assert found.ids == ("activation-missing", "beta1", "unknown")
    assert found.diagnosis.explained == (("Y2", "loss"), ("Y2", "share_W"), ("Y2", "share_Y2"))


@pytest.mark.slow
def test_a_gradient_is_unknown_and_the_losses_are_explained(checked):
    port = made(OtherGradient, activations={"Relu": LINEAR}, loss_weight={"L2Loss_1": 2.0})
    found = checked(port)
    assert found.ids == ("activation-missing", "loss-scaled", "unknown")
    left = {line.partition(":")[0] for line in found.diagnosis.measured}
    assert left == {"updates of share_Y1 in Y1", "updates of share_Y1 in joint"}


@pytest.mark.slow
def test_losses_alone_are_no_explanation(checked):
    """A factor explains the losses, but no update of these tasks."""
    every = ("share_W", "share_Y1", "share_Y2")
    found = checked(made(OtherGradient, changed_weights=every, loss_weight={"L2Loss": 2.0}))
    assert not found.diagnosis.edits and not found.diagnosis.is_whole
    assert len(found.diagnosis.measured) == 9


@pytest.mark.slow
def test_other_initial_weights_do_not_explain_the_rest(checked):
    def weights(self):
        shown = Plain.weights(self)
        return shown if self.done else {**shown, "share_W": shown["share_W"] + np.float32(1)}

    found = checked(made(OtherGradient, weights=weights))
    assert found.ids == ("initial-weights", "unknown")
    assert found.diagnosis.explained == diagnose.STARTS


@pytest.mark.slow
@pytest.mark.parametrize("places", [("Relu_2",), ("Relu", "Relu_2")])
def test_a_gradient_is_named_where_it_explains_something(checked, places):
    port = made(OtherLoss, activations=dict.fromkeys(places, (RELU[0], LINEAR[1])))
    found = checked(port)
    assert found.ids == ("slope-ignored", "unknown")
    (edit,) = found.diagnosis.edits
    assert edit.places == places


@pytest.mark.slow
def test_no_edit_makes_wrong_what_is_right(checked):
    """The losses of task 2 are those without a ReLU, and its updates are right."""

    class Reports(OtherLoss):
        def step(self, task, X, Y1, Y2):
            linear = made(OtherLoss, activations={"Relu_2": LINEAR})(*self.weights().values())
            labels = {"Y1": Y1, "Y2": Y2}
            loss, _ = linear.loss_and_gradients(task, X, labels)
            super().step(task, X, Y1, Y2)
            return loss

    found = checked(made(Reports, epsilon={"Y1_op": 1e-7}))
    assert "activation-missing" not in found.ids


def test_an_edit_without_updates_explains_no_weight_that_moved():
    """In a graph, an edit may lead to a branch that is not taken, so that no update is made."""
    (case,) = cases_of("joint")
    run = run_port(Plain, case, 3)
    search = StagedSearch([run], [run], lambda: None, True, False)

    def without_updates(model):
        tasks = {name: task._replace(operations=()) for name, task in model.case.tasks.items()}
        return model._replace(case=model.case._replace(tasks=tasks))

    nothing = Forward((Mutation(Edit("no updates", ()), without_updates),))
    assert search.unexplained(Forward(), Updates()) == set()
    assert search.unexplained(nothing, Updates()) == {("joint", name) for name in case.weights}


@pytest.mark.slow
def test_a_part_that_leaves_nothing_is_all(checked):
    found = checked(made(Plain, activations={"Relu_2": LINEAR}, beta1={"Y2_op": 0.8}))
    assert found.ids == ("activation-missing", "beta1") and found.diagnosis.is_whole


def test_what_has_no_time_is_measured():
    text = str(check(made(Plain, epsilon={"Y2_op": 1e-7}), CASES, seconds=0.01))
    assert "explains this; the limit of 0.01 s ended the search; measured:\n" in text
    assert "\n  updates of share_Y2 in Y2: " in text


def test_the_report_measures_little_and_what_says_most_first():
    lines = [f"updates of w{i} in train: 0.5 to 1 of the length in TensorFlow" for i in range(12)]
    lines += ["updates of b in train: always 0 of the length", "loss of train: 1 to 2"]
    _, *shown = diagnose.Diagnosis(measured=tuple(lines)).lines
    assert len(shown) == 8
    assert shown[:2] == [f"  {lines[-1]}", f"  {lines[-2]}"]
    assert shown[-1] == "  and 7 more; --json has all"
    _, *shown = diagnose.Diagnosis(measured=tuple(lines[:8])).lines
    assert shown == [f"  {line}" for line in lines[:8]]
