"""`python -m tests.oracle [--write]`: see the docstring of the package."""

import argparse
import json
import os
import sys

import numpy as np

from tf1_mtl.baseline.recordings import load_recording, recorded_by, save_recording

from . import goldens, listing, published, tolerance
from .cases import WEIGHTS, cases

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDENS = "tf1_mtl/baseline/goldens/"
TRUTH = "tests/truth/"
REFERENCE = "1.15.5"
RUNTIMES = ("0.12.1", "1.0.1", "1.10.0", REFERENCE)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.oracle")
    parser.add_argument("--write", action="store_true", help="store what was recorded")
    parser.add_argument("--root", default=ROOT, help="the project's directory")
    args = parser.parse_args()
    version = listing.tf.__version__
    if version not in RUNTIMES:
        parser.error(
            f"this Python has TensorFlow {version}, but the truth is recorded on "
            f"{', '.join(RUNTIMES)}. Install tests/oracle/requirements-<version>.txt into a "
            "Python of its own."
        )
    os.chdir(args.root)
    machine = {**recorded_by(version), "variables": "ref"}
    if args.write:
        write(version, machine)
        return 0
    found, compared = differences(version, machine)
    for difference in found:
        print(difference)
    print(f"TensorFlow {version}: {len(compared)} files compared, {len(found)} differences")
    return 1 if found else 0


def recordings(version, run):
    """All that is kept of a runtime, {path: {where in the file: array}}, but for the graph.

    Args:
      run: Gives the `Recorded` of a case: `listing.run`, or `tolerance.run` for the tolerances.
    """
    recorded = {name: run(case) for name, case in cases().items()}
    found = {TRUTH + f"sessions-{version}.npz": published.sessions(run)}
    if version == REFERENCE:
        found[_checkpoint(version) + "/expected.npz"] = published.checkpoint_variables(run)
    else:
        finals = found[TRUTH + f"goldens-{version}.npz"] = {}
        for name, one in recorded.items():
            finals[name + "_losses"] = one.losses
            for weight in WEIGHTS:
                finals[name + "_" + weight] = one.variables[max(one.variables)][weight]
    for path, name in with_graphs(version).items():
        found[path] = goldens.flat(recorded[name])
    return found


def with_graphs(version):
    """Returns the cases that are kept as recordings, with graph and variables, {path: case}."""
    if version == REFERENCE:
        return {GOLDENS + name + ".npz": name for name in cases()}
    return {TRUTH + f"recording-{version}.npz": "one-task-then-the-other"}


def write(version, machine):
    """Records and stores."""
    description = np.array(json.dumps(machine, sort_keys=True))
    for path, arrays in recordings(version, listing.run).items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if path in with_graphs(version):
            save_recording(path, golden(with_graphs(version)[path], machine))
        else:
            np.savez_compressed(path, recorded_by=description, **arrays)
    if version == REFERENCE:
        published.write_checkpoint(_checkpoint(version))
        with open(_graph(version), "w") as file:
            file.write(published.graph_text())


def golden(name, machine):
    """Record one case with its graph."""
    case = cases()[name]
    described = listing.Listing(case.weights, case.batch).described()
    return goldens.pack(name, case, listing.run(case), machine, described)


def differences(version, machine):
    """Records and compares.

    Returns:
      Sentences about what differs, and the paths that were compared.
    """
    found = []
    tolerances = None
    recorded = recordings(version, listing.run)
    for path, arrays in recorded.items():
        stored, stored_by = _read(path)
        if path in with_graphs(version):
            again = golden(with_graphs(version)[path], machine)
            difference = goldens.graphs_differ(again, load_recording(path))
            found += [f"{path}: {difference}"] if difference else []
        # Python and NumPy only hand the arrays over: they may differ.
        if all(stored_by[fact] == machine[fact] for fact in ("tensorflow", "platform", "cpu")):
            tolerated = dict.fromkeys(arrays, 0)
        else:
            tolerances = tolerances or recordings(version, tolerance.run)
            tolerated = tolerances[path]
        if list(stored) != list(arrays):
            found.append(f"{path}: has other arrays than this code records. Record with --write.")
            continue
        for where in arrays:
            found += compare(f"{path}: {where}", arrays[where], stored[where], tolerated[where])
    compared = list(recorded)
    if version == REFERENCE:
        compared.append(_graph(version))
        with open(_graph(version)) as file:
            if file.read() != published.graph_text():
                found.append(f"{_graph(version)}: the listing gives another graph")
    return found, compared


def compare(where, recorded, stored, tolerated):
    """Returns a list with a sentence about the first difference, or [].

    Args:
      tolerated: How far each value may be off. With 0 every bit, dtype and shape must be equal.
    """
    recorded, stored = np.asarray(recorded), np.asarray(stored)
    if recorded.dtype != stored.dtype or recorded.shape != stored.shape:
        return [
            f"{where}: recorded {recorded.dtype} {recorded.shape}, stored {stored.dtype} "
            f"{stored.shape}"
        ]
    if recorded.tobytes() == stored.tobytes():
        return []
    if recorded.dtype.kind != "f":
        return [f"{where}: recorded {recorded}, stored {stored}"]
    off = np.abs(recorded.astype(float) - stored)
    with np.errstate(invalid="ignore"):
        beyond = ~(off <= tolerated)  # NaN, too
    if np.any(tolerated) and not beyond.any():
        return []
    index = np.unravel_index(np.argmax(beyond), off.shape)
    allowed = np.broadcast_to(tolerated, off.shape)[index]
    return [
        f"{where}{[int(i) for i in index]}: recorded {recorded[index]}, stored "
        f"{stored[index]}, {off[index]:.2g} apart, tolerance {allowed:.2g}"
    ]


def _read(path):
    """({where in the file: array}, what recorded it)."""
    if path in with_graphs(listing.tf.__version__):
        stored = load_recording(path)
        return goldens.flat(goldens.unpack(stored)), stored.manifest["recorded_by"]
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads(str(arrays.pop("recorded_by")))


def _checkpoint(version):
    return TRUTH + f"checkpoint-{version}"


def _graph(version):
    return TRUTH + f"graph-{version}.pbtxt"


if __name__ == "__main__":
    sys.exit(main())
