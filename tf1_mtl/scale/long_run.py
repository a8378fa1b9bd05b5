"""Trains long runs in stretches, with a checkpoint after each.

`MonitoredSession` and its saver hook would save by themselves, but when they count enough steps,
while the random stream may have been drawn ahead. Here a stretch of batches is drawn, trained and
saved as one: when a checkpoint is written, the weights have seen just the batches that were drawn.
(A `MonitoredSession` can read these checkpoints.)
"""

import collections
import os
import signal
from typing import Any, Callable, Deque, Dict, Iterator, List

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.feeds import Batch
from tf1_mtl.files import replacing
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.scale.checkpoints import Store
from tf1_mtl.stopping import gathered
from tf1_mtl.training import Step, train


def train_long(
    net: MultiTaskGraph,
    session: tf.Session,
    store: Store,
    rng: np.random.RandomState,
    batches: Callable[[int], Iterator[Batch]],
    steps: int,
    save_every: int = 1000,
    stepping: str = "session",
) -> Iterator[Step]:
    """Trains from the newest checkpoint of the store until so many steps are done in all.

    Until it is exhausted or closed, Ctrl-C and SIGTERM only end it, after the step at hand and
    with a checkpoint.

    Args:
      net: The graph of the article.
      session: Open on it, its variables initialized.
      store: Where the checkpoints are.
      rng: What `batches` draws from, and from nothing else.
      batches: Gives the next so many batches.
      steps: In all, those of earlier processes included.
      save_every: Steps between checkpoints.
      stepping: See `tf1_mtl.training.train`.

    Yields:
      A `Step` after each update, counted from the first one of the run.

    Raises:
      InputError: As `Store`; or a loss is not finite: the run is not saved after the checkpoint
        before it, and the batch of that step is kept beside the checkpoints.
      KeyboardInterrupt: After Ctrl-C, when the checkpoint is written.
      SystemExit: After SIGTERM, with status 143; the same is saved.
    """
    step = store.restore(rng)
    with gathered(signal.SIGINT, signal.SIGTERM) as received:
        while step < steps and not received:
            stretch = min(save_every - step % save_every, steps - step)
            drawn: Deque[Batch] = collections.deque()
            for trained in train(net, session, _until(batches(stretch), received, drawn), stepping):
                batch = drawn.popleft()
                if not np.isfinite(trained.loss):
                    raise _not_finite(store.directory, step, batch, trained.loss)
                yield Step(step, trained.task, trained.loss)
                step += 1
            store.save(step, rng)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if received:
        raise SystemExit(128 + received[0])


def _until(batches: Iterator[Batch], received: List[int], drawn: Deque[Batch]) -> Iterator[Batch]:
    """Yields batches until a signal comes; what was drawn by then is still trained and saved."""
    for batch in batches:
        drawn.append(batch)
        yield batch
        if received:
            return


def _not_finite(directory: str, step: int, batch: Batch, loss: np.float32) -> InputError:
    arrays: Dict[str, Any] = {
        name: np.asarray(value)
        for name, value in zip(("X", "Y1", "Y2"), batch[1:])
        if value is not None
    }
    path = os.path.join(directory, f"step-{step}-feed.npz")
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    return InputError(
        f"step {step}: the loss of task {batch.task!r} is {loss}, so the run ends here, and "
        f"nothing after the last checkpoint is saved. What was fed is in {path}."
    )
