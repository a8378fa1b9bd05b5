"""Reads and writes recordings: what TensorFlow computed, run by run, in one strict file format.

A recording ends in .npz and is a zip archive that `numpy.load` opens too. Its members, in the order
in which they were recorded:

    manifest.json                     who recorded what, and with what; the schema version
    sessions/000000/graph.json        the graph of a session that trains, before its first such run
    sessions/000000/session.json      its variables and their values at that point
    000000/variables/share_W.npy ...  each different array once, named after where it first occurs
    runs/000000.json ...              one run, and for every array where it is stored
    sessions/000000/graph-1.json ...  nodes that the graph of a session got since
    manifest-1.json ...               what a recording learnt about itself later

The member of a run follows its arrays, so the front of a file cut short is a number of whole runs.
`load_recording(path, partial=True)` reads them.

Names of tensors, operations and variables are those of TensorFlow, a tensor without its ":0". Only
NumPy is needed.
"""

import hashlib
import json
import platform
import sys
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from tf1_mtl.baseline.archive import Archive, ArchiveWriter, npy, read_archive, read_npy
from tf1_mtl.baseline.recorded_graph import (
    RecordedGraph,
    canonical,
    check_inputs,
    graph_from_json,
    graph_to_json,
)
from tf1_mtl.errors import InputError

FORMAT = "tf1_mtl trajectory"  # the name that schema 1 gave it
SCHEMA = 2

Arrays = Dict[str, np.ndarray]
#: Dtypes of numbers that the JSON of a run holds itself.
NUMBERS = {"bool"}.union(
    f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)
)
_WRITTEN_BY = "a file that `--record` or tf1_mtl.baseline.save_recording wrote. Check the name."
# What JSON values and arrays raise that are not what this module writes.
_UNKNOWN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class Variable(NamedTuple):
    """Describes a variable of a graph."""

    name: str  #: without ":0"
    kind: str  #: "ref" or "resource"
    is_trainable: bool


class Session(NamedTuple):
    """Holds the graph and the state of a session that trains, before its first training run."""

    graph: Optional[RecordedGraph]  #: None in a recording of schema 1
    variables: Tuple[Variable, ...]  #: in the order of creation; () in a recording of schema 1
    #: Values by variable, without those that are not initialized or that no operation reads.
    initial: Arrays
    #: If the graph is that of the article, its names of X, Y1, Y2, share_W, share_Y1, share_Y2,
    #: Y1_Loss, Y2_Loss and Joint_Loss. Empty for any other graph.
    article: Mapping[str, str] = {}

    def __repr__(self) -> str:
        article = ", of the article" if self.article else ""
        return f"Session({self.graph}{article}, {len(self.initial)} variables)"


class Run(NamedTuple):
    """Holds what one `Session.run` was given and gave."""

    #: The fetched operations that train, sorted and joined by "+", or "" without any. In the graph
    #: of the article they are called "Y1", "Y2" and "joint".
    task: str
    feeds: Arrays  #: as fed, by tensor
    #: Values by fetched tensor or operation, in the order of the fetches. None for an operation,
    #: which returns nothing, and in a run that failed.
    fetched: Mapping[str, Optional[np.ndarray]] = {}
    #: Outputs of random operations, queues and iterators that a training run used, by tensor.
    outputs: Mapping[str, np.ndarray] = {}
    #: Values after the run, by variable, or None if they were not kept.
    variables: Optional[Arrays] = None
    session: int = 0  #: in the order in which the sessions of a script first ran
    error: str = ""  #: what TensorFlow raised, when the run failed

    @property
    def fetches(self) -> Tuple[str, ...]:
        """Returns the names of what was fetched, in order."""
        return tuple(self.fetched)

    @property
    def loss(self) -> Any:
        """Returns the floating-point number that was fetched, or None if there is not just one."""
        found = [x for x in self.fetched.values() if x is not None]
        found = [x for x in found if x.ndim == 0 and x.dtype.kind == "f"]
        return found[0][()] if len(found) == 1 else None

    def __repr__(self) -> str:
        parts = [repr(self.task), f"fetches {', '.join(self.fetched) or 'nothing'}"]
        parts += [f"feeds {', '.join(self.feeds)}"] if self.feeds else []
        parts += [f"loss {self.loss}"] if self.loss is not None else []
        parts += [f"{len(self.variables)} variables"] if self.variables is not None else []
        parts += [f"error {self.error!r}"] if self.error else []
        return f"Run({'; '.join(parts)})".replace("\n", " ")


class Recording(NamedTuple):
    """Holds recorded values, run by run. Loaded arrays are read-only. Equal ones are one object."""

    manifest: Dict[str, Any]  #: JSON values
    runs: Tuple[Run, ...]
    sessions: Mapping[int, Session] = {}  #: those that train, by `Run.session`

    @property
    def first_run_without_state(self) -> Optional[int]:
        """Returns the number of the first run with its fetched values only, or None."""
        return self.manifest.get("first_run_without_state")

    def steps(self, session: int = 0) -> Tuple[Run, ...]:
        """Returns the training runs of one session that were recorded with their state."""
        runs = self.runs[: self.first_run_without_state]
        return tuple(run for run in runs if run.task and run.session == session)

    def __repr__(self) -> str:
        steps = sum(1 for run in self.runs if run.task)
        return f"Recording({len(self.runs)} runs, {steps} of them train, sessions {self.sessions})"


def load_recording(path: str, partial: bool = False) -> Recording:
    """Reads a recording, without unpickling anything.

    Args:
      path: What `save_recording`, `--record` or `recording` wrote.
      partial: Also takes what a killed process left (`path` or `path` + ".partial"), and gives its
        whole runs.

    Raises:
      InputError: The file is not there, not a recording, cut short, altered, or of a newer schema.
    """
    archive = read_archive(path, partial)
    if not archive.members:
        raise InputError(
            f"{archive.path}: not a recording, or one cut short before its first run; should be "
            f"{_WRITTEN_BY}"
        )
    schema = _schema(archive)
    if schema is None:
        raise InputError(f"{archive.path}: not a recording; should be {_WRITTEN_BY}")
    if schema > SCHEMA:
        raise InputError(
            f"{archive.path}: a recording of schema {schema}, but this tf1_mtl reads up to "
            f"{SCHEMA}. Upgrade tf1_mtl."
        )
    if not archive.is_sealed and not partial:
        raise InputError(
            f"{archive.path}: cut short, its end with the checksum is missing. Read the runs that "
            "are whole with load_recording(path, partial=True), or record it again."
        )
    try:
        return _Reader(schema).read(archive)
    except _UNKNOWN as error:
        raise InputError(
            f"{archive.path}: a recording with unknown content ({type(error).__name__}: "
            f"{error!s:.200}). Record it again."
        ) from error


def _schema(archive: Archive) -> Optional[int]:
    """Returns the schema that the first member states, or None if this is not a recording."""
    name, content = next(iter(archive.members.items()))
    if name != "manifest.json":
        return None
    try:
        manifest = json.loads(bytes(content).decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return None
    schema = manifest.get("schema")
    return schema if type(schema) is int and schema > 0 else None


class _Reader:
    """Puts the members of an archive together."""

    def __init__(self, schema: int) -> None:
        self._arrays: Arrays = {}
        self._manifest: Dict[str, Any] = {}
        self._sessions: Dict[int, Session] = {}
        self._graphs: Dict[int, RecordedGraph] = {}
        self._runs: List[Run] = []
        self._schema = schema

    def read(self, archive: Archive) -> Recording:
        """Returns the recording. Raises an error for anything that `Writer` does not write."""
        for name, content in archive.members.items():
            if name.endswith(".npy"):
                self._arrays[name] = read_npy(content)
                continue
            entry = json.loads(bytes(content).decode())
            if not isinstance(entry, dict):
                raise TypeError(f"{name} should be an object")
            if name.startswith("manifest"):
                self._manifest.update(entry)
            elif name == "initial.json":  # schema 1
                self._add_session(0, name, entry)
            elif name.startswith("sessions/"):
                _, number, what = name.split("/")
                self._add_session(int(number), what, entry)
            else:
                self._runs.append(self._run(entry if self._schema > 1 else _upgraded(entry)))
        for graph in self._graphs.values():
            check_inputs(graph)
        sessions = {
            number: session._replace(graph=self._graphs.get(number))
            for number, session in self._sessions.items()
        }
        recording = Recording(self._manifest, tuple(self._runs), sessions)
        if recording.first_run_without_state is not None:
            _number(recording.first_run_without_state)
        return recording

    def _add_session(self, number: int, what: str, entry: Dict[str, Any]) -> None:
        if what == "initial.json":  # schema 1
            self._sessions[number] = Session(None, (), self._resolved(entry))
        elif what.startswith("graph"):
            graph = self._graphs.get(number, RecordedGraph({}))
            self._graphs[number] = graph.joined(graph_from_json(entry, self._resolve))
        else:
            variables = [
                Variable(_text(name), _text(kind), bool(trainable))
                for name, kind, trainable in entry["variables"]
            ]
            article = {name: _text(value) for name, value in entry["article"].items()}
            initial = self._resolved(entry["initial"])
            self._sessions[number] = Session(None, tuple(variables), initial, article)

    def _run(self, entry: Dict[str, Any]) -> Run:
        return Run(
            task=_text(entry["task"]),
            feeds=self._resolved(entry["feeds"]),
            fetched={
                _text(name): None if x is None else self._resolve(x) for name, x in entry["fetched"]
            },
            outputs=self._resolved(entry.get("outputs", {})),
            variables=self._resolved(entry["variables"]) if "variables" in entry else None,
            session=_number(entry.get("session", 0)),
            error=_text(entry.get("error", "")),
        )

    def _resolved(self, references: Mapping[str, Any]) -> Arrays:
        return {name: self._resolve(reference) for name, reference in references.items()}

    def _resolve(self, reference: Any) -> np.ndarray:
        if isinstance(reference, str):
            return self._arrays[reference]
        dtype, value = reference
        if dtype not in NUMBERS or not isinstance(value, (bool, int, float)):
            raise TypeError(f"{reference!r:.80} should be a number")
        array = np.array(value, dtype=dtype)
        array.setflags(write=False)
        return array


def _upgraded(entry: Dict[str, Any]) -> Dict[str, Any]:
    """Returns a run of schema 1 as one of schema 2. It had weights, slots by key, and a loss."""
    run = {**entry, "fetched": [["loss", entry["loss"]]] if "loss" in entry else []}
    if "fetched" in entry:
        run["fetched"] = [[canonical(name), x] for name, x in entry["fetched"].items()]
    if "weights" in entry:
        slots = {"/".join(key): x for *key, x in entry.get("slots", ())}
        run["variables"] = {**entry["weights"], **slots}
    return run


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} should be text")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r:.80} should be a whole number")
    return value


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
