"""Trajectories: recorded values, run by run, in one strict file format. NumPy only.

A trajectory file ends in .npz and is a zip archive that `numpy.load` opens too. Its members, in
the order in which they were recorded:

    manifest.json                     who recorded what, and with what; the schema version
    initial.json                      the weights before the first step
    sessions/000001/initial.json ...  the same for each session that a recording saw train
    000000/weights/share_W.npy ...    each different array once, named after where it first occurs
    runs/000000.json ...              one run: its task, and for every array where it is stored
    manifest-1.json ...               what a recording learnt about itself later

A run's own member follows its arrays, so the front of a file cut short is a number of whole runs;
`load(path, partial=True)` reads them.
"""

import io
import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

from tf1_mtl.baseline.archive import Archive, read_archive
from tf1_mtl.errors import InputError

FORMAT = "tf1_mtl trajectory"
SCHEMA = 1

SlotKey = Tuple[str, str, str]
Reference = Union[str, List[Any]]  # a member's name, or [dtype, value] of a single number


class Run(NamedTuple):
    """One `Session.run`: of the article's graph, one training step."""

    task: str  #: "Y1", "Y2" or "joint"; "" when the run is no training step of the article's graph
    feeds: Dict[str, np.ndarray]  #: as fed, by placeholder; a label that was not fed is absent
    loss: Optional[np.float32]  #: before this update
    #: After it, by variable; None where the trajectory keeps only some steps.
    weights: Optional[Dict[str, np.ndarray]] = None
    #: After it, by (optimizer, variable, slot): ("Optimiser", "share_W", "m"), and without a
    #: variable ("Y2_op", "", "beta1_power"); None where the trajectory keeps only some steps.
    slots: Optional[Dict[SlotKey, np.ndarray]] = None
    #: What was fetched, by TensorFlow's name; None for an operation, which returns nothing.
    fetched: Optional[Dict[str, Optional[np.ndarray]]] = None
    session: int = 0  #: in the order in which a script's sessions first ran
    error: str = ""  #: what TensorFlow raised, when the run failed


class Trajectory(NamedTuple):
    """Recorded values, run by run. Loaded arrays are read-only: equal ones are one object."""

    manifest: Dict[str, Any]  #: JSON values
    initial: Dict[str, np.ndarray]  #: the weights before the first step
    runs: Tuple[Run, ...]
    #: Of a recording, the same for each session that trained, by `Run.session`.
    initial_of: Mapping[int, Dict[str, np.ndarray]] = {}

    def steps(self, session: int = 0) -> Tuple[Run, ...]:
        """The training steps of one session; a script's other runs are left out."""
        return tuple(run for run in self.runs if run.task and run.session == session)


def load(path: str, partial: bool = False) -> Trajectory:
    """Reads a trajectory; never unpickles.

    Args:
      path: What `save` or a recording wrote.
      partial: Also takes what a killed recording left (`path` or `path` + ".partial"), and gives
        its whole runs.

    Raises:
      InputError: The file is not there, not a trajectory, cut short, altered, or of a newer
        schema.
    """
    archive = read_archive(path, partial)
    if not archive.members:
        raise InputError(
            f"{archive.path}: not a trajectory, or one cut short before its first record; should "
            "be a file that `--record` or tf1_mtl.baseline.save wrote. Check the name."
        )
    schema = _schema(archive)
    if schema is None:
        raise InputError(
            f"{archive.path}: not a trajectory; should be a file that `--record` or "
            "tf1_mtl.baseline.save wrote. Check the name."
        )
    if schema > SCHEMA:
        raise InputError(
            f"{archive.path}: a trajectory of schema {schema}, but this tf1_mtl reads up to "
            f"{SCHEMA}. Upgrade tf1_mtl."
        )
    if not archive.sealed and not partial:
        raise InputError(
            f"{archive.path}: cut short, its end with the checksum is missing. Read the runs that "
            "are whole with load(path, partial=True), or record it again."
        )
    try:
        return _assemble(archive)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{archive.path}: a trajectory with unknown content ({type(error).__name__}: {error}). "
            "Record it again."
        ) from error


def _schema(archive: Archive) -> Optional[int]:
    """The schema that the first member states, or None if this is no trajectory."""
    if archive.members[0][0] != "manifest.json":
        return None
    try:
        manifest = json.loads(archive.members[0][1].decode())
    except ValueError:
        return None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return None
    schema = manifest.get("schema")
    return schema if isinstance(schema, int) else None


def _assemble(archive: Archive) -> Trajectory:
    """Puts the members together."""
    manifest: Dict[str, Any] = {}
    initial: Dict[str, np.ndarray] = {}
    initial_of: Dict[int, Dict[str, np.ndarray]] = {}
    runs: List[Run] = []
    arrays: Dict[str, np.ndarray] = {}
    for name, content in archive.members:
        if name.endswith(".npy"):
            arrays[name] = _frozen(np.load(io.BytesIO(content), allow_pickle=False))
            continue
        entry = json.loads(content.decode())
        if name.startswith("manifest"):
            manifest.update(entry)
        elif name.startswith("initial"):
            initial = _resolve_all(entry, arrays)
        elif name.startswith("sessions/"):
            initial_of[int(name.split("/")[1])] = _resolve_all(entry, arrays)
        else:
            runs.append(_run(entry, arrays))
    return Trajectory(manifest, initial, tuple(runs), initial_of)


def _run(entry: Dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Run:
    loss: Any = _resolve(entry["loss"], arrays)[()] if "loss" in entry else None
    slots = None
    if "slots" in entry:
        slots = {
            (optimizer, variable, slot): _resolve(reference, arrays)
            for optimizer, variable, slot, reference in entry["slots"]
        }
    return Run(
        task=entry["task"],
        feeds=_resolve_all(entry["feeds"], arrays),
        loss=loss,
        weights=_resolve_all(entry["weights"], arrays) if "weights" in entry else None,
        slots=slots,
        fetched=_resolve_all(entry["fetched"], arrays) if "fetched" in entry else None,
        session=entry.get("session", 0),
        error=entry.get("error", ""),
    )


def _resolve_all(
    references: Mapping[str, Optional[Reference]], arrays: Mapping[str, np.ndarray]
) -> Dict[str, Any]:
    return {
        name: None if reference is None else _resolve(reference, arrays)
        for name, reference in references.items()
    }


def _resolve(reference: Reference, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    if isinstance(reference, str):
        return arrays[reference]
    dtype, value = reference
    return _frozen(np.array(value, dtype=dtype))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
