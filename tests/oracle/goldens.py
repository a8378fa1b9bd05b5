"""A case and what a runtime made of it, as a recording. NumPy only."""

from typing import Dict, NamedTuple, Tuple

from tf1_mtl.baseline.recorded_graph import RecordedGraph
from tf1_mtl.baseline.recordings import Recording, Run, Session, Variable

from .cases import WEIGHTS, Recorded


class Described(NamedTuple):
    """Holds what a recording states about the graph of the listing."""

    graph: RecordedGraph
    variables: Tuple[Variable, ...]
    names: Dict[str, str]  #: the name of a variable in TensorFlow, by key
    article: Dict[str, str]  #: the name of X, share_W, Y1_Loss, ... in TensorFlow
    fetches: Dict[str, Tuple[str, str]]  #: training operation and loss, by task


def pack(name, case, recorded, machine, described):
    """Returns the golden of one case.

    Args:
      name: The name of the case.
      recorded: The `Recorded` of the case.
      machine: What recorded it, from `recorded_by`.
      described: The `Described` listing that was run.
    """
    share_W, share_Y1, share_Y2 = (case.weights[weight] for weight in WEIGHTS)
    manifest = {
        "case": name,
        "exposes": case.exposes,
        "recorded_by": machine,
        "seed": case.seed,
        "sizes": {
            "batch": case.batch,
            "inputs": share_W.shape[0],
            "shared": share_W.shape[1],
            "tasks": [share_Y1.shape[1], share_Y2.shape[1]],
        },
        "optimizer": {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
        "arrays": {
            "initial": "variables before step 0",
            "feeds": "as fed; a label that is absent was not fed",
            "fetched": "the loss before the update: sum of squares / 2; of joint, the sum of both",
            "variables": "after the update",
        },
        "tensorflow_names": described.names,
    }
    initial = {described.names[key]: value for key, value in recorded.initial.items()}
    session = Session(described.graph, described.variables, initial, described.article)
    runs = []
    for step, ((task, *arrays), loss) in enumerate(zip(case.batches, recorded.losses)):
        feeds = {key: array for key, array in zip(("X", "Y1", "Y2"), arrays) if array is not None}
        train_op, loss_tensor = described.fetches[task]
        variables = recorded.variables.get(step)
        if variables is not None:
            variables = {described.names[key]: value for key, value in variables.items()}
        runs.append(Run(task, feeds, {train_op: None, loss_tensor: loss}, variables=variables))
    return Recording(manifest, tuple(runs), {0: session})


def unpack(golden):
    """Returns the `Recorded` in a golden."""
    keys = {name: key for key, name in golden.manifest["tensorflow_names"].items()}

    def by_key(variables):
        return {keys[name]: value for name, value in variables.items()}

    kept = {step: run for step, run in enumerate(golden.runs) if run.variables is not None}
    return Recorded(
        [run.loss for run in golden.runs],
        by_key(golden.sessions[0].initial),
        {step: by_key(run.variables) for step, run in kept.items()},
    )


def slots(golden, run):
    """Returns the slots of a run by (optimizer, variable, slot), or None where none are kept."""
    if run.variables is None:
        return None
    names = golden.manifest["tensorflow_names"]
    return {tuple(key.split("/")): run.variables[names[key]] for key in names if "/" in key}


def graphs_differ(one, other):
    """Returns what differs first between the graphs of two goldens, or "" where nothing does."""
    nodes, others = (golden.sessions[0].graph.nodes for golden in (one, other))
    if list(nodes) != list(others):
        return "the listing gives a graph with other nodes"
    different = (name for name in nodes if repr(nodes[name]) != repr(others[name]))
    name = next(different, "")
    return f"the listing gives another node {name}" if name else ""


def flat(recorded):
    """Returns all that was recorded, {where: array}."""
    arrays = {"losses": recorded.losses}
    for step, variables in recorded.variables.items():
        for key, value in variables.items():
            arrays[f"step {step}, {key}"] = value
    return arrays
