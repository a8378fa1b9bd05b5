"""Gathers batches into chunks that the graph can hold, and runs a chunk while the next is drawn.

The faster step modes give TensorFlow many batches at once. A `Chunk` stacks the arrays of
each task by themselves, because two data sets trained alternately may differ in rows.
"""

import concurrent.futures
import itertools
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.data import as_float32
from tf1_mtl.errors import InputError
from tf1_mtl.feeds import NEEDS, Batch, checked
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.training import Step

#: A chunk has as many steps at most, and its batches take as much memory at most.
MOST_STEPS = 1000
MOST_BYTES = 64 * 2**20

#: A run of fewer steps is not worth a second thread, whose start takes a millisecond.
_FEWEST_STEPS = 100

#: Seconds that a run gets to leave Python before the next chunk is drawn. Without them it may wait
#: 5 ms for the lock of the interpreter each time it needs it.
_HEAD_START = 0.0003


class Chunk(NamedTuple):
    """Holds some batches, checked and stacked."""

    tasks: Tuple[str, ...]  #: of each step
    rows: np.ndarray  #: int32 [steps]: which batch of its task a step takes
    arrays: Dict[str, Dict[str, np.ndarray]]  #: by task and name: float32 [batches, rows, columns]


class ChunkRun(NamedTuple):
    """Describes the run that trains on a whole chunk."""

    tasks: Tuple[str, ...]  #: of each step
    losses: str  #: the tensor to fetch: float32, a loss for each step at least
    feed_dict: Dict[str, Any]


def in_chunks(net: MultiTaskGraph, batches: Iterable[Batch]) -> Iterator[Chunk]:
    """Gathers batches into chunks. A chunk is drawn only when it is asked for.

    Raises:
      InputError: A batch does not fit the graph, or has values that must not be fed. All
        batches before it have been yielded.
    """
    shapes = net.shapes
    batches = iter(batches)
    step = 0
    for first in batches:
        length = chunk_length(net, _rows(first))
        drawn = [first, *itertools.islice(batches, length - 1)]
        chunk = _stack_alike(drawn, shapes)
        if chunk is not None:
            yield chunk
        else:  # several sizes, or a bad batch: one at a time, as `session` takes them
            for offset, batch in enumerate(drawn):
                arrays = checked(batch, shapes, where=f"step {step + offset}")
                yield Chunk(
                    (batch.task,),
                    np.zeros(1, np.int32),
                    {batch.task: {name: arrays[name][np.newaxis] for name in NEEDS[batch.task]}},
                )
        step += len(drawn)


def run_ahead(session: tf.Session, runs: Iterator[ChunkRun]) -> Iterator[Step]:
    """Runs each chunk while the next one is drawn and stacked, and yields its steps.

    `session.run` releases the lock of the interpreter, so a second thread runs it. That run has
    ended when a step is yielded, so the variables are those after the chunk.

    Raises:
      BaseException: What `runs` or the session raises, such as KeyboardInterrupt. The steps of all
        chunks before it are yielded.
    """
    step = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as thread:
        run, error = _next_or_error(runs)
        while run is not None:
            if len(run.tasks) < _FEWEST_STEPS:
                losses = session.run(run.losses, run.feed_dict)
                following, error = _next_or_error(runs)
            else:
                running = thread.submit(session.run, run.losses, run.feed_dict)
                concurrent.futures.wait([running], _HEAD_START)
                following, error = _next_or_error(runs)
                losses = running.result()
            yield from map(Step, itertools.count(step), run.tasks, losses)
            step += len(run.tasks)
            run = following
    if error is not None:
        raise error


def _next_or_error(runs: Iterator[ChunkRun]) -> Tuple[Optional[ChunkRun], Optional[BaseException]]:
    try:
        return next(runs, None), None
    except BaseException as error:  # KeyboardInterrupt too: the steps of a run are not lost
        return None, error


def chunk_length(net: MultiTaskGraph, rows: int) -> int:
    """Returns how many steps a chunk has at most, for batches of this number of rows."""
    columns = sum(columns for _, columns in net.shapes.values())
    return max(1, min(MOST_STEPS, MOST_BYTES // (4 * rows * columns)))


def _rows(batch: Batch) -> int:
    return max(1, len(batch.X)) if hasattr(batch.X, "__len__") else 1


def _stack_alike(drawn: List[Batch], shapes: Mapping[str, Any]) -> Optional[Chunk]:
    """Returns one chunk, or None if the batches of a task differ in shape or one of them is bad.

    One check of a stack costs a tenth of a check of each array in it.
    """
    by_task: Dict[str, List[Batch]] = {}
    rows = []
    for batch in drawn:
        alike = by_task.setdefault(batch.task, [])
        rows.append(len(alike))
        alike.append(batch)
    try:
        arrays = {task: _stack(task, alike, shapes) for task, alike in by_task.items()}
    except (InputError, ValueError):
        return None
    return Chunk(tuple(batch.task for batch in drawn), np.array(rows, np.int32), arrays)


def _stack(task: str, batches: List[Batch], shapes: Mapping[str, Any]) -> Dict[str, np.ndarray]:
    stacked = {}
    for name in shapes:
        values = [np.asarray(getattr(batch, name)) for batch in batches]
        if len({(value.dtype, value.shape) for value in values}) > 1:
            raise InputError("not alike")  # each is cast to float32 by itself
        if getattr(batches[0], name) is not None:
            # All have one shape, so this is np.stack in half the time.
            stack = np.concatenate(values).reshape(len(values), *values[0].shape)
            stacked[name] = as_float32(name, stack, [None, *shapes[name]])
    if len({array.shape[1] for array in stacked.values()}) > 1:
        raise InputError("rows differ")
    if task not in NEEDS or not set(NEEDS[task]) <= set(stacked):
        raise InputError("a label is missing")
    return {name: stacked[name] for name in NEEDS[task]}
