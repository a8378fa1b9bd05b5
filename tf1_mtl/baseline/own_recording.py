"""A golden of one's own: a recording of the article's graph, to check ports against."""

import numpy as np

from tf1_mtl.baseline.judgement import judge
from tf1_mtl.baseline.play import play
from tf1_mtl.baseline.reference import WEIGHTS, Reference
from tf1_mtl.baseline.trajectory import Run, Trajectory, load
from tf1_mtl.errors import InputError


def own_golden(path: str) -> Trajectory:
    """Reads the training steps of a recording's first session that trains the article's graph.

    Args:
      path: What `--record` or `recording` wrote.

    Returns:
      A trajectory of these steps, with the weights before the first.

    Raises:
      InputError: There is no such session, or its weights leave, by more than the long run's
        tolerance, what TensorFlow's rules give from fresh slots with the article's
        hyper-parameters: a port would be held against something else.
    """
    recorded = load(path)
    for number, session in enumerate(recorded.manifest.get("sessions", ())):
        steps = recorded.steps(number)
        if session.get("article") and steps and number in recorded.initial_of:
            golden = Trajectory(recorded.manifest, recorded.initial_of[number], steps)
            break
    else:
        raise InputError(
            f"{path}: no session in it trains the article's graph, should be a recording of one "
            "that does. Record one with tf1-mtl alternate --record FILE.npz."
        )
    for step, run in enumerate(golden.runs):
        _refuse_unless_usable(f"{path}: step {step} ({run.task})", run)
    played = play(Reference, path, golden)
    with np.errstate(all="ignore"):
        found = judge(played, {})
    if found or played.broke:
        where = f"{found.where} ({found.stage})" if found else played.where
        raise InputError(
            f"{path}: not what the article's graph and Adam give, first in {where}; should be from "
            "fresh slots, in one session that nothing else trains, with AdamOptimizer()'s defaults."
            " Record such a session."
        )
    return golden


def _refuse_unless_usable(where: str, run: Run) -> None:
    labels = ("Y1", "Y2") if run.task == "joint" else (run.task,)
    for name in ("X", *labels):
        if name not in run.feeds:
            raise InputError(f"{where}: {name} was not fed, should be. Feed the placeholder.")
    if not all(name in (run.weights or ()) for name in WEIGHTS):
        raise InputError(f"{where}: a weight is missing, should be one of three. Record it again.")
