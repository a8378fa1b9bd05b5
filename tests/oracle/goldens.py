"""A case and what a runtime made of it, as a trajectory. NumPy only."""

from tf1_mtl.baseline.trajectory import Run, Trajectory

from .cases import WEIGHTS, Recorded


def pack(name, case, recorded, machine, names):
    """The golden of one case.

    Args:
      name: The case's.
      recorded: The `Recorded` of the case.
      machine: What recorded it, from `recorded_by`.
      names: Our key to TensorFlow's name, of every variable.
    """
    share_W, share_Y1, share_Y2 = (case.weights[weight] for weight in WEIGHTS)
    manifest = {
        "case": name,
        "exposes": case.exposes,
        "recorded_by": machine,
        "seed": case.seed,
        "sizes": {
            "batch": case.batch,
            "inputs": share_W.shape[0],
            "shared": share_W.shape[1],
            "tasks": [share_Y1.shape[1], share_Y2.shape[1]],
        },
        "optimizer": {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
        "arrays": {
            "initial": "weights before step 0",
            "feeds": "as fed; a label that is absent was not fed",
            "loss": "before the update: sum of squares / 2; of joint, both tasks' sum",
            "weights": "after the update",
            "slots": "after the update: optimizer, variable, slot",
        },
        "tensorflow_names": names,
    }
    runs = []
    for step, ((task, *arrays), loss) in enumerate(zip(case.batches, recorded.losses)):
        feeds = {key: array for key, array in zip(("X", "Y1", "Y2"), arrays) if array is not None}
        runs.append(Run(task, feeds, loss, recorded.weights.get(step), recorded.slots.get(step)))
    return Trajectory(manifest, case.weights, tuple(runs))


def unpack(golden):
    """The `Recorded` in a golden."""
    kept = {step: run for step, run in enumerate(golden.runs) if run.weights is not None}
    return Recorded(
        [run.loss for run in golden.runs],
        {step: run.weights for step, run in kept.items()},
        {step: run.slots for step, run in kept.items()},
    )


def flat(recorded):
    """All that was recorded, {where: array}."""
    arrays = {"losses": recorded.losses}
    for step in recorded.weights:
        for key, value in recorded.weights[step].items():
            arrays[f"step {step}, {key}"] = value
        for key, value in recorded.slots[step].items():
            arrays[f"step {step}, {'/'.join(key)}"] = value
    return arrays
