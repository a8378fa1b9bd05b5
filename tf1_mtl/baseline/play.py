"""What the search for causes takes: a run of a port of the article, under the article's names."""

from typing import Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from tf1_mtl.baseline.port_run import PortRun, WrongReturn
from tf1_mtl.baseline.recordings import Recording, Run, Session

Weights = Dict[str, np.ndarray]


class Played(NamedTuple):
    """What a port did with one case, up to the end or to where it broke."""

    run: PortRun
    golden: Recording

    @property
    def case(self) -> str:
        return self.run.case.name

    @property
    def before(self) -> List[Weights]:
        return self.run.before

    @property
    def after(self) -> List[Weights]:
        return self.run.after

    @property
    def losses(self) -> List[float]:
        return self.run.losses

    @property
    def wrong(self) -> Optional[WrongReturn]:
        return self.run.wrong

    @property
    def broke(self) -> str:
        return self.run.broke

    def batch(self, step: int) -> Tuple[str, np.ndarray, np.ndarray, np.ndarray]:
        return batch(self.golden, self.golden.runs[step])


def played(run: PortRun) -> Played:
    """Return a run of a port as the search for causes takes it."""
    case = run.case
    runs = tuple(
        Run(
            step.task,
            {name: step.feeds[key] for name, key in case.feeds.items() if key in step.feeds},
            {} if step.loss is None else {"loss": step.loss},
        )
        for step in case.steps
    )
    initial = {name: case.initial[key] for name, key in case.weights.items()}
    golden = Recording({}, runs, {0: Session(None, (), initial)})
    return Played(run, golden)


def batch(golden: Recording, run: Run) -> Tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """A step's arguments. A label that was not fed is zeros, so that a port may convert it."""
    X = run.feeds["X"]
    labels = []
    for task in ("Y1", "Y2"):
        outputs = golden.sessions[0].initial["share_" + task].shape[1]
        labels.append(run.feeds.get(task, np.zeros((len(X), outputs), np.float32)))
    return run.task, X, labels[0], labels[1]
