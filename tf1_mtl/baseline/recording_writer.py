"""Writes recordings; `recordings` says what they are and what is in the file. NumPy only."""

import hashlib
import json
import platform
import sys
from typing import Any, Dict, Mapping, Optional

import numpy as np

from tf1_mtl.baseline.archive import ArchiveWriter, npy
from tf1_mtl.baseline.recorded_graph import RecordedGraph, graph_to_json
from tf1_mtl.baseline.recordings import FORMAT, NUMBERS, SCHEMA, Recording, Run, Session
from tf1_mtl.errors import InputError


def save_recording(path: str, recording: Recording) -> None:
    """Writes a recording; the same one gives the same bytes, whatever the day, Python or NumPy.

    Raises:
      InputError: The file cannot be written, or an array would need pickle.
    """
    writer = Writer(path, recording.manifest)
    try:
        for number, session in recording.sessions.items():
            if session.graph is not None:
                writer.add_graph(number, session.graph)
            writer.start_session(number, session)
        for run in recording.runs:
            writer.add(run)
    except BaseException:
        writer.discard()
        raise
    writer.close()


class Writer:
    """Writes a recording run by run, so that a kill loses no run that was added."""

    def __init__(self, path: str, manifest: Mapping[str, Any]) -> None:
        """Opens `path` + ".partial" and writes the manifest.

        Args:
          path: Where the finished file will be.
          manifest: JSON values.

        Raises:
          InputError: The file cannot be written, an unfinished recording is in the way, or the
            manifest holds something else.
        """
        try:
            json.dumps(manifest, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{path}: a manifest with something else than JSON values ({error}); should be "
                "text, finite numbers, lists and dictionaries of them. Convert it."
            ) from error
        self._archive = ArchiveWriter(path)
        self._stored: Dict[bytes, str] = {}  # where the arrays so far are, by digest
        self.runs = 0  #: how many were added
        self._manifests = 0
        self._graphs: Dict[int, int] = {}  # how many parts were written, by session
        self.describe({**manifest, "format": FORMAT, "schema": SCHEMA})

    @property
    def size(self) -> int:
        """Returns the number of bytes that were written."""
        return self._archive.size

    def describe(self, manifest: Mapping[str, Any]) -> None:
        """Adds entries to the manifest, or replaces them."""
        self._put_json(f"manifest{_suffix(self._manifests)}.json", manifest)
        self._manifests += 1

    def add_graph(self, session: int, graph: RecordedGraph) -> None:
        """Writes the graph of a session; a later call adds nodes."""
        parts = self._graphs.get(session, 0)
        where = f"sessions/{session:06d}/graph{_suffix(parts)}"
        entry = graph_to_json(graph, lambda name, x: self._reference(f"{where}/{name}", x))
        self._put_json(f"{where}.json", entry)
        self._graphs[session] = parts + 1

    def start_session(self, number: int, session: Session) -> None:
        """Writes the variables of a session before its first training run."""
        where = f"sessions/{number:06d}"
        entry = {
            "variables": [list(variable) for variable in session.variables],
            "initial": self._references(f"{where}/initial", session.initial),
            "article": dict(session.article),
        }
        self._put_json(f"{where}/session.json", entry)

    def add(self, run: Run) -> None:
        """Writes one run."""
        where = f"{self.runs:06d}"
        fetched = self._references(f"{where}/fetched", run.fetched)
        entry: Dict[str, Any] = {
            "task": run.task,
            "feeds": self._references(f"{where}/feeds", run.feeds),
            "fetched": [list(item) for item in fetched.items()],
        }
        if run.outputs:
            entry["outputs"] = self._references(f"{where}/outputs", run.outputs)
        if run.variables is not None:
            entry["variables"] = self._references(f"{where}/variables", run.variables)
        if run.session:
            entry["session"] = run.session
        if run.error:
            entry["error"] = run.error
        self._put_json(f"runs/{where}.json", entry)
        self.runs += 1
        self._archive.flush()

    def close(self) -> None:
        """Finishes the file and gives it its name."""
        self._archive.close()

    def discard(self) -> None:
        """Removes what was written."""
        self._archive.discard()

    def _references(self, where: str, arrays: Mapping[str, Optional[np.ndarray]]) -> Dict[str, Any]:
        return {
            name: None if value is None else self._reference(f"{where}/{name}", value)
            for name, value in arrays.items()
        }

    def _reference(self, where: str, value: Any) -> Any:
        """Stores an array, unless an equal one is stored, and returns what refers to it."""
        array = np.asarray(value, order="C")
        if array.dtype.hasobject:
            raise InputError(
                f"{where}: an array of Python objects, but should be numbers or fixed-length "
                "strings, which are stored without pickle. Convert it with astype."
            )
        if array.ndim == 0 and array.dtype.name in NUMBERS and np.isfinite(array):
            return [array.dtype.name, array.item()]
        content = npy(array)
        digest = hashlib.sha256(content).digest()
        if digest not in self._stored:
            self._archive.put(f"{where}.npy", content)
            self._stored[digest] = f"{where}.npy"
        return self._stored[digest]

    def _put_json(self, name: str, entry: Mapping[str, Any]) -> None:
        content = json.dumps(entry, separators=(",", ":"), allow_nan=False)
        self._archive.put(name, content.encode())


def _suffix(number: int) -> str:
    return f"-{number}" if number else ""


def recorded_by(tensorflow: str) -> Dict[str, str]:
    """Returns what a manifest says of the runtime, since another one may round differently.

    Args:
      tensorflow: Its version.
    """
    return {
        "tensorflow": tensorflow,
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "numpy": np.__version__,
        "platform": f"{platform.machine()} {platform.system()}",
        "cpu": _cpu(),
    }


def _cpu() -> str:
    """Returns the name of the CPU, its model and its vector units, which decide the kernels."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines()]
    except OSError:
        return platform.processor() or "unknown"
    facts = {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}
    units = sorted(set(facts.get("flags", "").split()) & {"avx", "avx2", "avx512f", "fma"})
    name = "{} (family {}, model {})".format(
        *(facts.get(key, "?") for key in ("model name", "cpu family", "model"))
    )
    return " ".join([name, *units])
