"""Reads a recording of the article's graph as a golden, to check ports with it."""

from typing import Mapping, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.judgement import judge
from tf1_mtl.baseline.play import play
from tf1_mtl.baseline.recordings import Arrays, Recording, Session, load_recording
from tf1_mtl.baseline.reference import TRAINS, WEIGHTS, Reference
from tf1_mtl.errors import InputError


def own_golden(path: str) -> Recording:
    """Reads the training steps of a recording's first session that trains the article's graph.

    Args:
      path: What `--record` or `recording` wrote.

    Returns:
      A recording of these steps, under the article's names, as session 0.

    Raises:
      InputError: There is no such session, or its weights leave, by more than the long run's
        tolerance, what TensorFlow's rules give from fresh slots with the article's
        hyper-parameters: a port would be held against something else.
    """
    recorded = load_recording(path)
    if any(session.graph is None for session in recorded.sessions.values()):
        raise InputError(
            f"{path}: recorded without its graph, by an older tf1_mtl, but a check needs the graph."
            " Record it again with --record FILE.npz, on the same TensorFlow."
        )
    for number, session in recorded.sessions.items():
        if session.article and recorded.steps(number):
            golden = _in_the_article_s_names(recorded, number, session)
            break
    else:
        raise InputError(
            f"{path}: no session in it trains the article's graph, should be a recording of one "
            "that does. Record one with tf1-mtl alternate --record FILE.npz."
        )
    initial = golden.sessions[0].initial
    inputs, shared = _shape(f"{path}: before step 0", "share_W", initial, (None, None))
    sizes = {}
    for task in ("Y1", "Y2"):
        where = f"{path}: before step 0"
        sizes[task] = _shape(where, "share_" + task, initial, (shared, None))[1]
    for step, run in enumerate(golden.runs):
        where = f"{path}: step {step} ({run.task})"
        if run.task not in TRAINS:
            raise InputError(f"{where}: should be a step of Y1, Y2 or joint. Record such steps.")
        rows, _ = _shape(where, "X", run.feeds, (None, inputs))
        for task in TRAINS[run.task]:
            _shape(where, task, run.feeds, (rows, sizes[task]))
        if run.variables is not None:
            for name in WEIGHTS:
                _shape(where, name, run.variables, initial[name].shape)
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


def _in_the_article_s_names(recorded: Recording, number: int, session: Session) -> Recording:
    """Returns the steps of one session, with the names of the article for those of its graph."""
    ours = {name: article for article, name in session.article.items()}

    def renamed(arrays: Mapping[str, np.ndarray]) -> Arrays:
        return {ours.get(name, name): array for name, array in arrays.items()}

    steps = []
    for run in recorded.steps(number):
        # Another loss than the one that the step lowers says nothing of the step.
        loss = session.article.get(f"{run.task.capitalize()}_Loss")
        fetched = {name: x for name, x in run.fetched.items() if name == loss}
        variables = None if run.variables is None else renamed(run.variables)
        steps.append(run._replace(feeds=renamed(run.feeds), fetched=fetched, variables=variables))
    article = Session(session.graph, session.variables, renamed(session.initial), session.article)
    return Recording(recorded.manifest, tuple(steps), {0: article})


def _shape(
    where: str, name: str, arrays: Mapping[str, np.ndarray], shape: Sequence[Optional[int]]
) -> Tuple[int, ...]:
    """Returns the shape of an array, which must be there, finite, and fit."""
    if name not in arrays:
        raise InputError(f"{where}: {name} is missing, but should be there. Feed or record it.")
    array = arrays[name]
    fits = array.ndim == len(shape) and all(a in (None, b) for a, b in zip(shape, array.shape))
    if not fits or array.dtype.kind != "f" or not np.isfinite(array).all():
        should = ["any" if size is None else size for size in shape]
        raise InputError(
            f"{where}: {name} is {array.dtype} {list(array.shape)}, but should be finite float32 "
            f"of shape [{', '.join(map(str, should))}]. Record a session that gives such values."
        )
    return array.shape
