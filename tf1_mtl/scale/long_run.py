"""Trains long runs in stretches, with a checkpoint after each.

`MonitoredSession` with its saver hook saves after a number of steps. By then the random stream may
have been drawn ahead. Here a stretch of batches is drawn, trained and saved as one. So when a
checkpoint is written, the weights have seen just the batches that were drawn. A `MonitoredSession`
can read these checkpoints.
"""

import collections
import os
import signal
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.feeds import Batch
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.npz import write_npz
from tf1_mtl.scale.checkpoints import Store
from tf1_mtl.stopping import end_if, gathered
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
    every: Optional[int] = None,
) -> Iterator[Step]:
    """Trains from the newest checkpoint of the store up to a number of steps.

    Ctrl-C and SIGTERM end the training after the batches that are drawn already, with a checkpoint.

    Args:
      net: The graph of the article.
      session: A session on this graph with initialized variables.
      store: Where the checkpoints are.
      rng: The random stream that `batches` draws from. `batches` uses no other.
      batches: Takes a number, and yields that many batches.
      steps: The number of all steps, including those of earlier processes.
      save_every: Steps between checkpoints.
      stepping: See `tf1_mtl.training.train`.
      every: Nothing is trained ahead of a step whose number, from 1, is a multiple of it.

    Yields:
      A `Step` after each update. Its number counts from the first step of the run.

    Raises:
      InputError: As in `Store`, or a loss is not finite. Then nothing after the last checkpoint
        is saved, and the batch of that step is kept beside the checkpoints.
      KeyboardInterrupt: After Ctrl-C, when the checkpoint is written.
      SystemExit: After SIGTERM, when the checkpoint is written. The status is 143.
    """
    step = store.restore(rng)
    with gathered(signal.SIGINT, signal.SIGTERM) as received:
        while step < steps and not received:
            stretch = min(n - step % n for n in (save_every, every or save_every))
            stretch = min(stretch, steps - step)
            drawn: Deque[Batch] = collections.deque()
            for trained in train(net, session, _until(batches(stretch), received, drawn), stepping):
                batch = drawn.popleft()
                if not np.isfinite(trained.loss):
                    raise _not_finite(store.directory, step, batch, trained.loss)
                yield Step(step, trained.task, trained.loss)
                step += 1
            if step % save_every == 0 or step == steps or received:
                store.save(step, rng)
    end_if(received)


def _until(batches: Iterator[Batch], received: List[int], drawn: Deque[Batch]) -> Iterator[Batch]:
    """Yields batches until a signal comes. The last one is still trained and saved."""
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
    write_npz(path, arrays)
    return InputError(
        f"step {step}: the loss of task {batch.task!r} is {loss}, so the run ends here, and "
        f"nothing after the last checkpoint is saved. What was fed is in {path}."
    )
