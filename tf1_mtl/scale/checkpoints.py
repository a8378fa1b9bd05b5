"""Saves the checkpoints of a long run, and restores the newest one that is intact.

A *checkpoint* is what `tf.train.Saver` writes. Here it holds the variables and slots of the model,
and

    global_step    int64, the steps trained
    random_state   int32 [628], the Mersenne Twister of NumPy, on which all later batches depend
    run            string, JSON: which run this is

One file holds all of them, so that a kill cannot separate the weights from the random stream.

TensorFlow finds the newest checkpoint in the file `checkpoint`. Without that file it starts again
at step 0 without a message. If the newest checkpoint is damaged, it does not restore an older one.
So a `Store` reads every tensor of the newest checkpoint, since each has a checksum. If one is
damaged, it reads the checkpoint before, until one is intact.
"""

import fcntl
import json
import os
import re
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError, reason_of
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.scale.additions import held

_NAME = "model.ckpt"
_LOCK = "tf1-mtl.lock"
#: What a killed save leaves, as TensorFlow names it.
_HALF_WRITTEN = re.compile(r"model\.ckpt-\d+\.(?:index|data-\d{5}-of-\d{5})\.tempstate\d+")
_FILE = re.compile(r"model\.ckpt-(\d+)\.(?:index|data-\d+-of-\d+)$")
#: What reading a damaged checkpoint may raise, by the kind of damage and the version of TensorFlow.
_DAMAGE = (tf.errors.OpError, ValueError, IndexError, RuntimeError, OSError)
_KEPT = 5
_LONGEST_OWNER = 100  # characters of a lock that are read


class Store:
    """Keeps the checkpoints of a run for one process at a time. Use it in a `with` block.

    Args:
      directory: The directory of the checkpoints. It is made if it does not exist.
      net: The graph of the article.
      session: A session on this graph with initialized variables.
      run: What distinguishes this run from others: seed, data, learning rate. JSON values.
      tell: Is called with each warning, one line.

    Raises:
      InputError: The directory cannot be written, or another process has it open.
    """

    def __init__(
        self,
        directory: str,
        net: MultiTaskGraph,
        session: tf.Session,
        run: Dict[str, Any],
        tell: Callable[[str], None],
    ) -> None:
        _check_name(directory)
        self.directory = directory
        self.step = 0  #: of the newest checkpoint
        self._session = session
        self._tell = tell
        self._run = {**run, "sizes": _sizes(net)}
        self._lock = _lock(directory)
        variables = net.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
        with net.graph.as_default(), tf.name_scope("checkpoint"):
            self._fed = {
                "global_step": tf.placeholder(tf.int64, []),
                "random_state": tf.placeholder(tf.int32, [628]),
                "run": tf.placeholder(tf.string, []),
            }
            extra = {name: held(net, value, name) for name, value in self._fed.items()}
            self._set = tf.group(*(variable.initializer for variable in extra.values()))
            self._finite = {
                variable.op.name: tf.reduce_all(tf.is_finite(variable.read_value()))
                for variable in variables
            }
            saved = {**{variable.op.name: variable for variable in variables}, **extra}
            self._saver = tf.train.Saver(saved, max_to_keep=_KEPT, save_relative_paths=True)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._lock.close()

    def restore(self, rng: np.random.RandomState) -> int:
        """Restores weights, slots and the random stream from the newest intact checkpoint.

        Returns:
          The steps trained. For a directory without checkpoints 0, and nothing is changed.

        Raises:
          InputError: No checkpoint is intact, or they belong to another run.
        """
        _sweep(self.directory)
        found = newest_intact(self.directory, self._tell)
        if found is None:
            return 0
        self._refuse_another_run(found)
        self._saver.restore(self._session, found.prefix)
        older = [_prefix(self.directory, step) for step in _steps(self.directory)]
        self._saver.recover_last_checkpoints(older[: older.index(found.prefix) + 1])
        _unpack_random_state(found.tensors["random_state"], rng)
        self.step = found.step
        return found.step

    def save(self, step: int, rng: np.random.RandomState) -> None:
        """Writes a checkpoint, and removes the oldest of more than five.

        Raises:
          InputError: A weight or slot is not finite, or the checkpoint cannot be written. The
            older ones are unchanged.
        """
        finite = self._session.run(self._finite)
        ruined = [name for name in finite if not finite[name]]
        if ruined:
            raise InputError(
                f"step {step - 1}: its update made {', '.join(ruined)} infinite or not a number, "
                f"so it is not saved. {self.directory} holds the run before that. Feed smaller "
                "numbers or use a smaller learning rate."
            )
        self._check_place()
        values = (step, _pack_random_state(rng), json.dumps(self._run, sort_keys=True))
        self._session.run(self._set, dict(zip(self._fed.values(), values)))
        prefix = os.path.join(self.directory, _NAME)
        try:
            self._saver.save(self._session, prefix, step, write_meta_graph=False)
        except _DAMAGE as error:
            _sweep(self.directory)
            raise InputError(
                f"{self.directory}: cannot write the checkpoint of step {step} "
                f"({reason_of(error)}). Older checkpoints are unchanged. Free space or repair "
                "the directory, and run the same command again: it continues from there."
            ) from error
        if not os.path.exists(f"{prefix}-{step}.index"):
            raise InputError(
                f"{self.directory}: the checkpoint of step {step} is not here but on the machine "
                "of /job:ps/task:0, which writes it. Give a directory that both machines share."
            )
        self.step = step

    def _check_place(self) -> None:
        """Raises an error if the directory is not where it was: a save would make another one."""
        path = os.path.join(self.directory, _LOCK)
        try:
            is_here = os.path.samestat(os.fstat(self._lock.fileno()), os.stat(path))
        except OSError:
            is_here = False
        if not is_here:
            raise InputError(
                f"{self.directory}: was moved, renamed or removed during the run, so nothing more "
                "is saved. Put it back under this name, and run the same command again: it "
                "continues from the last checkpoint."
            )

    def _refuse_another_run(self, found: "Checkpoint") -> None:
        there, here = _without_rows(found.run), _without_rows(self._run)
        differ = sorted(
            _difference(key, there.get(key), here.get(key))
            for key in {*there, *here}
            if there.get(key) != here.get(key)
        )
        if differ:
            raise InputError(
                f"{self.directory}: holds another run ({'; '.join(differ)}). Continue that "
                "run, or give this run a directory of its own."
            )


class Checkpoint(NamedTuple):
    """Holds one checkpoint, read and found intact."""

    prefix: str
    step: int  #: steps trained
    run: Dict[str, Any]
    tensors: Dict[str, np.ndarray]  #: by name, all of them


def newest_intact(directory: str, tell: Callable[[str], None]) -> Optional[Checkpoint]:
    """Returns the newest checkpoint of which every tensor can be read, or None without checkpoints.

    Args:
      directory: The directory of a `Store`.
      tell: Is called with a warning for damaged checkpoints, and for a damaged state file.

    Raises:
      InputError: There are checkpoints, but none is intact, or a `Store` did not write them.
    """
    steps = _steps(directory)
    state_file = os.path.join(directory, "checkpoint")
    damaged: List[str] = []
    for step in reversed(steps):
        prefix = _prefix(directory, step)
        try:
            reader = tf.train.load_checkpoint(prefix)
            names = reader.get_variable_to_shape_map()
            tensors = {name: reader.get_tensor(name) for name in names}
        except _DAMAGE as error:
            damaged.append(f"{os.path.basename(prefix)} ({reason_of(error)})")
            continue
        if not {"global_step", "random_state", "run"} <= set(tensors):
            raise InputError(
                f"{prefix}: a checkpoint, but not one of a tf1-mtl run. Give the run a directory "
                "of its own."
            )
        saved = int(tensors["global_step"])
        if saved != step:
            damaged.append(f"{os.path.basename(prefix)} (it holds step {saved})")
            continue
        if damaged:
            tell(
                f"{directory}: damaged: {', '.join(damaged)}. Taking "
                f"{os.path.basename(prefix)}, {steps[-1] - step} steps earlier."
            )
        if not _names_checkpoint(state_file):
            tell(f"{state_file}: missing or damaged. The newest checkpoint was found without it.")
        return Checkpoint(prefix, step, json.loads(tensors["run"]), tensors)
    if damaged or os.path.exists(state_file):
        raise InputError(
            f"{directory}: no checkpoint in it is intact: "
            f"{', '.join(damaged) or 'a state file without any'}. Nothing was changed. Put an "
            "intact one back, or train from the start in an empty directory."
        )
    return None


def _names_checkpoint(state_file: str) -> bool:
    """Returns True if TensorFlow can read the state file."""
    try:
        with open(state_file, "rb") as file:
            return re.match(rb'model_checkpoint_path: "[^"\n]+"\n', file.read()) is not None
    except OSError:
        return False


def _steps(directory: str) -> List[int]:
    """Returns the steps that have a checkpoint file, in order."""
    try:
        matches = [_FILE.match(name) for name in os.listdir(directory)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(
            f"{directory}: cannot be used ({error.strerror}), but should be a directory of "
            "checkpoints or a new one. Give another."
        ) from error
    return sorted({int(match.group(1)) for match in matches if match})


def _prefix(directory: str, step: int) -> str:
    return os.path.join(directory, f"{_NAME}-{step}")


def _sweep(directory: str) -> None:
    """Removes what a killed or failed save left half-written."""
    for name in os.listdir(directory):
        if _HALF_WRITTEN.fullmatch(name):
            os.remove(os.path.join(directory, name))


def _check_name(directory: str) -> None:
    """Raises an error for a name that TensorFlow takes for a pattern or another file system."""
    found = sorted(set(directory) & set("[]?*\\"))
    if found:
        raise InputError(
            f"{directory}: has {' '.join(found)} in its name, which TensorFlow takes for a pattern "
            "of names, so that it would remove checkpoints of other directories. Give a directory "
            "without these characters."
        )
    if re.match(r"[^/]*://", directory):
        raise InputError(
            f"{directory}: is an address, but should be a directory of this machine. Give one."
        )


def _sizes(net: MultiTaskGraph) -> List[List[Optional[int]]]:
    return [tensor.shape.as_list() for tensor in (net.X, *net.weights.values())]


def _difference(key: str, there: Any, here: Any) -> str:
    """Returns in words what a run has otherwise. Data are a hash, which nobody could act on."""
    if key != "data":
        return f"{key} is {there!r} there and {here!r} here"
    advice = "leave out --data" if there is None else "give --data FILE of the first run"
    return f"the data differ: to continue it, {advice}"


def _without_rows(run: Dict[str, Any]) -> Dict[str, Any]:
    """Returns what tells runs apart. A graph with replicas leaves the number of rows open."""
    (_, *inputs), *weights = run.get("sizes") or [[None]]
    return {**run, "sizes": [inputs, *weights]}


def _lock(directory: str) -> Any:
    """Makes the directory and locks it until this process ends, killed or not."""
    path = os.path.join(directory, _LOCK)
    try:
        os.makedirs(directory, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_NOFOLLOW | os.O_CREAT | os.O_RDWR, 0o666), "r+")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). Give a directory that can."
        ) from error
    is_ours = True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        is_ours = False
    owner = file.read(_LONGEST_OWNER).strip()
    if owner and not owner.isdigit():
        file.close()
        raise InputError(f"{path}: is not the lock of a tf1-mtl run. Move or rename it.")
    if not is_ours:
        file.close()
        raise InputError(
            f"{directory}: in use by process {owner}. Wait for it, or give another directory."
        )
    file.seek(0)
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _pack_random_state(rng: np.random.RandomState) -> np.ndarray:
    state: Any = rng.get_state()
    _, keys, position, has_gauss, gauss = state
    rest = [np.array([position, has_gauss], np.int32), np.array([gauss], np.float64).view(np.int32)]
    return np.concatenate([keys.view(np.int32), *rest])


def _unpack_random_state(packed: np.ndarray, rng: np.random.RandomState) -> None:
    keys, (position, has_gauss) = packed[:624].view(np.uint32), packed[624:626]
    gauss = packed[626:].copy().view(np.float64)[0]
    rng.set_state(("MT19937", keys, int(position), int(has_gauss), float(gauss)))
