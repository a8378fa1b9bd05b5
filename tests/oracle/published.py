"""The truth about the article itself: its sessions, its graph, a checkpoint of it.

Python 3.6 syntax, since TensorFlow 0.12.1 has nothing newer.
"""

import os

import numpy as np

from .cases import WEIGHTS, Case, article_batches, article_weights
from .listing import Listing, tf

SEEDS = (20160718, 7)
STEPS = 200
#: Weights are kept after so many steps.
KEPT = (1, 10, 100, 200)


def sessions(run):
    """Makes 200 alternate and 200 joint steps for each seed.

    Args:
      run: Gives the `Recorded` of a case.

    Returns:
      seeds int64 [seeds]; kept int64 [kept]; alternate_tasks [seeds, steps]; and for each regime
      <regime>_losses float32 [seeds, steps], <regime>_<weight> float32 [seeds, kept, ...].
    """
    arrays = {"seeds": np.array(SEEDS), "kept": np.array(KEPT)}
    for regime in ("alternate", "joint"):
        cases = [_session(regime, seed) for seed in SEEDS]
        recorded = [run(case) for case in cases]
        arrays[regime + "_losses"] = np.stack([one.losses for one in recorded])
        for name in WEIGHTS:
            arrays[f"{regime}_{name}"] = np.stack(
                [np.stack([one.variables[step - 1][name] for step in KEPT]) for one in recorded]
            )
        if regime == "alternate":
            arrays["alternate_tasks"] = np.array(
                [[batch[0] for batch in case.batches] for case in cases]
            )
    return arrays


def _session(regime, seed):
    rng = np.random.RandomState(seed)
    weights = article_weights(rng)
    batches = article_batches(rng, regime, STEPS)
    keep = tuple(step - 1 for step in KEPT)
    return Case("", seed, weights, batches, keep=keep, batch=10)


def graph_text():
    """Returns the graph of the joint listing, with weights of seed 0, as protobuf text."""
    from google.protobuf import text_format

    listing = Listing(article_weights(np.random.RandomState(0)), batch=10)
    return text_format.MessageToString(listing.graph.as_graph_def())


def checkpoint_variables(run):
    """All 23 variables after a joint, a Y1 and a Y2 step of seed 0, by TensorFlow's name."""
    case = _checkpoint_case()
    recorded = run(case)
    last = len(case.batches) - 1
    names = Listing(case.weights, case.batch).variable_names()
    return {names[key]: value for key, value in recorded.variables[last].items()}


def write_checkpoint(directory):
    """The `Saver` checkpoint with the values of `checkpoint_variables`."""
    case = _checkpoint_case()
    listing = Listing(case.weights, case.batch)
    with tf.Session(graph=listing.graph) as session, listing.graph.as_default():
        session.run(listing.init)
        for batch in case.batches:
            listing.step(session, *batch)
        saver = tf.train.Saver(listing.all_variables, save_relative_paths=True)
        saver.save(
            session, os.path.join(directory, "model.ckpt"), global_step=3, write_meta_graph=False
        )


def _checkpoint_case():
    rng = np.random.RandomState(0)
    weights = article_weights(rng)
    drawn = article_batches(rng, "joint", 3)
    batches = [(task, *batch[1:]) for task, batch in zip(("joint", "Y1", "Y2"), drawn)]
    return Case("", 0, weights, batches, batch=10)
