"""Makes cases from recordings: a case for each session that trains."""

import glob
import os
import re
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case, Step, reading
from tf1_mtl.baseline.goldens import golden_names, load_golden
from tf1_mtl.baseline.recorded_graph import (
    RecordedGraph,
    node_and_output,
)
from tf1_mtl.baseline.recorded_tasks import (
    averages_of,
    tasks_of,
    trained_weights,
    untrained_weights,
)
from tf1_mtl.baseline.recordings import Recording, Run, Session, load_recording
from tf1_mtl.errors import InputError

ANY = -1  # size
ARTICLE_TASKS = ("Y1", "Y2", "joint")

_SUMMARIES = re.compile(r"\w+Summary(V2)?")


def cases_of(golden: str) -> Tuple[Case, ...]:
    """Returns the cases of a golden of the article or of a recording, one for each session.

    Args:
      golden: One of `golden_names()`, or the path of a recording.

    Raises:
      InputError: There is no such golden or file, it is not a recording, or no session in it can be
        checked.
    """
    name = golden if golden in golden_names() else os.path.basename(golden)
    recording = _recording(golden)
    cases = []
    for number in sorted(recording.sessions):
        if recording.steps(number):
            label = name if len(recording.sessions) == 1 else f"{name}, session {number}"
            with reading(f"{golden}: session {number}"):
                cases.append(_case(golden, label, recording, number))
    if not cases:
        raise InputError(_does_not_train(golden))
    return tuple(cases)


def graphs_of(golden: str) -> Tuple[RecordedGraph, ...]:
    """Returns the graphs of a golden or a recording, one for each session that trains.

    Args:
      golden: One of `golden_names()`, or the path of a recording.

    Raises:
      InputError: There is no such golden or file, it is not a recording, or it does not train.
    """
    sessions = sorted(_recording(golden).sessions.items())
    if not sessions:
        raise InputError(_does_not_train(golden))
    return tuple(session.graph for _, session in sessions if session.graph is not None)


def _recording(golden: str) -> Recording:
    names = golden_names()
    is_name = re.fullmatch(r"[\w-]+", golden) and not glob.glob(f"{golden}*")
    if is_name and golden not in names:
        raise InputError(
            f"{golden}: no such file and no such golden; should be the path of a recording, or one "
            f"of {', '.join(names)}."
        )
    recording = load_golden(golden) if golden in names else load_recording(golden)
    if any(session.graph is None for session in recording.sessions.values()):
        raise InputError(
            f"{golden}: holds no graph, since an earlier tf1_mtl recorded it; should hold the "
            "graph of each session that trains. Record it again with --record."
        )
    return recording


def _does_not_train(golden: str) -> str:
    return (
        f"{golden}: no session in it trains; should be a recording of a script that does. "
        "Record one with tf1-mtl run --record FILE.npz SCRIPT.py."
    )


def _case(golden: str, name: str, recording: Recording, number: int) -> Case:
    """Returns the case of one session."""
    session, runs = recording.sessions[number], recording.steps(number)
    graph = session.graph
    assert graph is not None  # cases_of has looked
    article = session.article
    tasks = tasks_of(graph, runs, bool(article))
    untrained: List[str] = []
    if article:
        _check_article(golden, session, runs)
        weights = {key: article[key] for key in ("share_W", "share_Y1", "share_Y2")}
        feeds = {key: article[key] for key in ("X", "Y1", "Y2")}
    else:
        trained = trained_weights(session, tasks)
        untrained = untrained_weights(session, tasks, trained)
        weights = {key: key for key in (*trained, *untrained)}
        fed = {tensor: None for run in runs for tensor in (*run.feeds, *run.outputs)}
        feeds = {tensor: tensor for tensor in fed}
    for key, variable in weights.items():
        _need_finite(f"{golden}: before step 0", key, session.initial.get(variable))
    for index, run in enumerate(runs):
        where = f"{golden}: step {index} ({run.task})"
        for key, tensor in feeds.items():
            if tensor in run.feeds:
                _need_finite(where, key, run.feeds[tensor])
        if run.variables is not None:
            for key, variable in weights.items():
                _need_finite(where, key, run.variables.get(variable))
    steps = [
        Step(
            run.task,
            {**run.feeds, **run.outputs},
            run.fetched.get(tasks[run.task].loss),
            run.variables,
            {
                tensor: value
                for tensor, value in run.fetched.items()
                if value is not None and not is_summary(graph, tensor)
            },
            changed,
        )
        for run, changed in zip(runs, _changed_before(recording, number))
    ]
    version = str(recording.manifest.get("recorded_by", {}).get("tensorflow", ""))
    case = Case(
        name, graph, tasks, weights, feeds, session.initial, tuple(steps), bool(article), version
    )
    averages = () if article else averages_of(session, tasks, weights)
    return case._replace(untrained=tuple(untrained), averages=averages)


def _changed_before(recording: Recording, number: int) -> List[Dict[str, np.ndarray]]:
    """Returns for each training run what other runs have changed since the one before it."""
    found: List[Dict[str, np.ndarray]] = []
    trained: Optional[Mapping[str, np.ndarray]] = None  # the variables after a training run
    now: Mapping[str, np.ndarray] = {}
    for run in recording.runs[: recording.first_run_without_state]:
        if run.session != number:
            continue
        if run.task:
            known = trained if trained is not None else now
            found.append({name: x for name, x in now.items() if not _same(x, known.get(name))})
            trained = run.variables
        now = run.variables or now
    return found


def _same(x: np.ndarray, y: Optional[np.ndarray]) -> bool:
    return x is y or (y is not None and np.array_equal(x, y))


def is_summary(graph: RecordedGraph, tensor: str) -> bool:
    """Returns whether a tensor is a summary for TensorBoard: a string, which is not compared."""
    node = graph.nodes.get(node_and_output(tensor)[0])
    return node is not None and bool(_SUMMARIES.fullmatch(node.op))


def _check_article(golden: str, session: Session, runs: Sequence[Run]) -> None:
    """Raises InputError unless a port of the article can be called with what was recorded."""

    def size(where: str, key: str, arrays: Mapping[str, np.ndarray], *shape: int) -> List[int]:
        return _need_matrix(where, key, arrays.get(session.article[key]), shape)

    start = f"{golden}: before step 0"
    inputs, shared = size(start, "share_W", session.initial, ANY, ANY)
    outputs = {
        task: size(start, "share_" + task, session.initial, shared, ANY)[1] for task in ("Y1", "Y2")
    }
    for index, run in enumerate(runs):
        where = f"{golden}: step {index} ({run.task})"
        if run.task not in ARTICLE_TASKS:
            raise InputError(
                f"{where}: should be one of {', '.join(ARTICLE_TASKS)}. Record such steps."
            )
        rows, _ = size(where, "X", run.feeds, ANY, inputs)
        for task in ("Y1", "Y2") if run.task == "joint" else (run.task,):
            size(where, task, run.feeds, rows, outputs[task])


def _need_matrix(
    where: str, name: str, array: Optional[np.ndarray], shape: Sequence[int]
) -> List[int]:
    """Returns the shape of an array; raise InputError unless it is there and has this shape."""
    fits = array is not None and array.ndim == len(shape)
    if array is None or not fits or any(a not in (ANY, b) for a, b in zip(shape, array.shape)):
        found = "missing" if array is None else f"of shape {list(array.shape)}"
        should = ["any" if size == ANY else size for size in shape]
        raise InputError(
            f"{where}: {name} is {found}, should be of shape [{', '.join(map(str, should))}]. Feed "
            "or record it."
        )
    return list(array.shape)


def _need_finite(where: str, name: str, array: Optional[np.ndarray]) -> None:
    """Raises InputError unless a recorded array is there and holds finite numbers."""
    if array is None:
        raise InputError(f"{where}: {name} is missing, should be there. Record it again.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(
            f"{where}: {name} is {array.dtype} {list(array.shape)} with NaN or infinity, should be "
            "finite. Record a session that stays finite."
        )
