"""Losses of edited graphs: what is evaluated behind an edit alone is what the whole graph gives."""

import numpy as np
import pytest

from tf1_mtl.baseline.case import CaseEvaluator
from tf1_mtl.baseline.diagnosis.forward_run import ForwardRun
from tf1_mtl.baseline.diagnosis.model import DoesNotFit
from tf1_mtl.baseline.diagnosis.mutations import forward_mutations
from tf1_mtl.baseline.diagnosis.node_mutations import node_mutations
from tf1_mtl.baseline.diagnosis.structure_mutations import structure_mutations
from tf1_mtl.baseline.evaluator import GRAPH_ERRORS
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.recorded_cases import cases_of

TRUTH = "tests/truth/scripts-1.15.5"


def whole(model, tensor, index, weights):
    """Returns a tensor of a model from an evaluation of everything that it needs."""
    evaluator = CaseEvaluator(model.case, bounds=False)
    try:
        evaluation = evaluator.evaluate([tensor], model.case.steps[index].feeds, weights)
        return evaluation.values[tensor]
    except GRAPH_ERRORS:
        return None


@pytest.mark.parametrize(
    "name",
    [
        "joint",
        "convolution",
        pytest.param("embedding_lstm", marks=pytest.mark.slow),
        pytest.param("while_loop_rnn", marks=pytest.mark.slow),
    ],
)
def test_what_is_behind_an_edit_is_evaluated_as_in_the_whole_graph(name):
    case = cases_of(name if name == "joint" else f"{TRUTH}/{name}.npz")[0]
    weights = {name: case.initial[variable] for name, variable in case.weights.items()}
    run = ForwardRun(PortRun(case, [weights], [], [0.0]))
    task = case.steps[0].task
    loss = case.tasks[task].loss
    right, different, compared = run.value(run.model, loss, 0), 0, 0
    kinds = (forward_mutations, node_mutations, structure_mutations)
    for mutation in [mutation for kind in kinds for mutation in kind(case, task)][::7]:
        model = mutation.apply(run.model)
        if mutation.is_hidden or mutation.edit.kind == "weights stale":
            continue
        try:
            found = run.value(model, model.case.tasks[model.returned(task)].loss, 0)
        except DoesNotFit:
            continue
        tensor = model.case.tasks[model.returned(task)].loss
        np.testing.assert_array_equal(found, whole(model, tensor, 0, weights), str(mutation.edit))
        compared += 1
        different += not np.array_equal(found, right)
    assert compared >= 10
    assert different >= compared / 2


def test_other_variables_are_those_of_the_step():
    """A loss may read a counter that the port does not hold."""
    case = cases_of(f"{TRUTH}/batch_normalization.npz")[0]
    held = dict(list(case.weights.items())[:1])
    steps = case.steps[:3]
    shown = [{n: case.initial[v] for n, v in held.items()}]
    shown += [{n: step.variables[v] for n, v in held.items()} for step in steps]
    run = ForwardRun(PortRun(case._replace(weights=held), shown[:3], shown[1:], [0.0] * 3))
    loss = case.tasks[steps[2].task].loss
    assert run.value(run.model, loss, 2) == pytest.approx(float(steps[2].loss), rel=1e-4)
    before = run.value(run.model, loss, 0)
    assert before == pytest.approx(float(steps[0].loss), rel=1e-4)
