"""Gathers the data of section "try": the edges of the graph, and the parts of the drawing.

walk.js goes backward along these edges, as `graph_reader.needed` does. No answer is
prepared here.
"""

from typing import Any, Dict, List

import numpy as np

from tf1_mtl.baseline import load_golden
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.graph_reader import accesses, op_of
from tf1_mtl.teaching import Explanation, explain
from tf1_mtl.teaching.chinese import in_language
from tf1_mtl.teaching.diagram import diagram

FETCHES = ("Y1_op", "Y1_Loss", "Y2_op", "Y2_Loss", "Optimiser", "Joint_Loss", "init")
FEEDS = ("X", "Y1", "Y2")
WEIGHTS = ("share_W", "share_Y1", "share_Y2")


def nothing_runs(net: MultiTaskGraph) -> Explanation:
    """Returns the explanation of a run without fetches, for the first drawing."""
    run = explain("Y1_Loss", graph=net)
    return run._replace(planned=(), measured=(), must_feed=(), reads=(), writes=(), changed=())


def data(net: MultiTaskGraph, language: str) -> Dict[str, Any]:
    """Returns the graph as JSON values. A node or variable is its number in `nodes`."""
    ops = net.graph.get_operations()
    number = {op.name: index for index, op in enumerate(ops)}
    run = explain("Y1_Loss", graph=net)
    titles = list(run.groups)
    group_of = {name: titles.index(title) for title in titles for name in run.groups[title]}
    drawing = diagram(net)
    return {
        "nodes": [
            {
                "name": op.name,
                "inputs": [number[t.op.name] for t in op.inputs]
                + sorted(number[before.name] for before in op.control_inputs),
                "group": group_of[op.name],
                "reads": [number[a.variable.name] for a in accesses(op) if a.reads],
                "writes": [number[a.variable.name] for a in accesses(op) if a.writes],
            }
            for op in ops
        ],
        "groups": [in_language(title, language) for title in titles],
        "variables": [number[name] for name in run.variables],
        "weights": [number[name] for name in WEIGHTS],
        "fetches": {name: number[op_of(getattr(net, name)).name] for name in FETCHES},
        "feeds": {name: number[name] for name in FEEDS},
        "shapes": net.shapes,
        "errors": {name: _error_without(net, name) for name in FEEDS},
        "boxes": [
            {"kind": box.kind, "nodes": [number[name] for name in box.nodes]}
            for box in drawing.boxes
        ],
        "edges": [[number[name] for name in edge.nodes] for edge in drawing.edges],
        "steps": _steps(),
    }


def _error_without(net: MultiTaskGraph, missing: str) -> str:
    """Returns the error of TensorFlow when this placeholder is not fed."""
    loss = {"X": "Y1_Loss", "Y1": "Y1_Loss", "Y2": "Y2_Loss"}[missing]
    error = explain(loss, feeds=[name for name in FEEDS if name != missing], graph=net).error
    if error is None:
        raise AssertionError(f"{loss} runs without {missing}")
    return error


def _steps() -> List[Dict[str, Any]]:
    """Returns the recorded steps of alternate training: task, loss, and counts of changes."""
    recording = load_golden("alternate")
    before, steps = recording.sessions[0].initial, []
    for run in recording.runs:
        loss = next(value for value in run.fetched.values() if value is not None)
        after = {**before, **(run.variables or {})}
        moved = [int(np.sum(before[name] != after[name])) for name in WEIGHTS]
        sizes = [int(before[name].size) for name in WEIGHTS]
        steps.append({"task": run.task, "loss": str(np.float32(loss)), "moved": moved, "of": sizes})
        before = after
    return steps
