"""Writes trajectories; what they are, and what is in the file: `trajectory`. NumPy only."""

import hashlib
import json
import struct
from typing import Any, Dict, Mapping, Optional

import numpy as np

from tf1_mtl.baseline.archive import ArchiveWriter
from tf1_mtl.baseline.trajectory import FORMAT, SCHEMA, Reference, Run, Trajectory
from tf1_mtl.errors import InputError


def save(path: str, trajectory: Trajectory) -> None:
    """Writes a trajectory; the same one gives the same bytes, whatever the day, Python or NumPy.

    Raises:
      InputError: The file cannot be written, or an array would need pickle.
    """
    writer = Writer(path, trajectory.manifest)
    try:
        writer.start(trajectory.initial)
        for session, initial in trajectory.initial_of.items():
            writer.start_session(session, initial)
        for run in trajectory.runs:
            writer.add(run)
    except BaseException:
        writer.discard()
        raise
    writer.close()


class Writer:
    """Writes a trajectory run by run, so that a kill loses no run that was added."""

    def __init__(self, path: str, manifest: Mapping[str, Any]) -> None:
        """Opens `path` + ".partial" and writes the manifest.

        Args:
          path: Where the finished file will be.
          manifest: JSON values.

        Raises:
          InputError: The file cannot be written, or an unfinished recording is in the way.
        """
        self._archive = ArchiveWriter(path)
        self._stored: Dict[bytes, str] = {}  # where the arrays so far are, by digest
        self._runs = 0
        self._manifests = 0
        self.describe({**manifest, "format": FORMAT, "schema": SCHEMA})

    def describe(self, manifest: Mapping[str, Any]) -> None:
        """Adds entries to the manifest, or replaces them."""
        suffix = f"-{self._manifests}" if self._manifests else ""
        self._put_json(f"manifest{suffix}.json", manifest)
        self._manifests += 1

    def start(self, initial: Mapping[str, np.ndarray]) -> None:
        """Writes the weights before the first step."""
        self._put_json("initial.json", self._references("initial", initial))

    def start_session(self, session: int, initial: Mapping[str, np.ndarray]) -> None:
        """Writes the weights before a session's first step."""
        where = f"sessions/{session:06d}/initial"
        self._put_json(f"{where}.json", self._references(where, initial))

    def add(self, run: Run) -> None:
        """Writes one run."""
        where = f"{self._runs:06d}"
        entry: Dict[str, Any] = {
            "task": run.task,
            "feeds": self._references(f"{where}/feeds", run.feeds),
        }
        if run.loss is not None:
            entry["loss"] = self._reference(f"{where}/loss", run.loss)
        if run.weights is not None:
            entry["weights"] = self._references(f"{where}/weights", run.weights)
        if run.slots is not None:
            entry["slots"] = [
                [*key, self._reference("/".join((where, "slots", *key)), value)]
                for key, value in run.slots.items()
            ]
        if run.fetched is not None:
            entry["fetched"] = self._references(f"{where}/fetched", run.fetched)
        if run.session:
            entry["session"] = run.session
        if run.error:
            entry["error"] = run.error
        self._put_json(f"runs/{where}.json", entry)
        self._runs += 1
        self._archive.flush()

    def close(self) -> None:
        """Finishes the file and gives it its name."""
        self._archive.close()

    def discard(self) -> None:
        """Gives up: nothing is left of what was written."""
        self._archive.discard()

    def _references(
        self, where: str, arrays: Mapping[str, Optional[np.ndarray]]
    ) -> Dict[str, Optional[Reference]]:
        return {
            name: None if value is None else self._reference(f"{where}/{name}", value)
            for name, value in arrays.items()
        }

    def _reference(self, where: str, value: Any) -> Reference:
        """Stores an array, unless an equal one is stored, and gives what refers to it."""
        array = np.asarray(value, order="C")
        if array.dtype.hasobject:
            raise InputError(
                f"{where}: an array of Python objects, but should be numbers or fixed-length "
                "strings, which are stored without pickle. Convert it with astype."
            )
        if array.ndim == 0 and array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
            return [array.dtype.name, array.item()]
        content = _npy(array)
        digest = hashlib.sha256(content).digest()
        if digest not in self._stored:
            self._archive.put(f"{where}.npy", content)
            self._stored[digest] = f"{where}.npy"
        return self._stored[digest]

    def _put_json(self, name: str, entry: Mapping[str, Any]) -> None:
        self._archive.put(name, json.dumps(entry, separators=(",", ":")).encode())


def _npy(array: np.ndarray) -> bytes:
    """The .npy format, version 1.0; NumPy's own writer pads its header differently by version."""
    header = f"{{'descr': {array.dtype.str!r}, 'fortran_order': False, 'shape': {array.shape!r}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + array.tobytes()
