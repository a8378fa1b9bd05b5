"""Holds ports of four training scripts, each right and with mistakes of real ports.

Each is entered with what a diagnosis should name: kinds of edits of `wrong_ports.KINDS`, at nodes,
variables or training operations of the recorded graph.
"""

import functools
import importlib
from typing import Any, List, NamedTuple, Tuple

from wrong_ports import KINDS, Edit


class ScriptPort(NamedTuple):
    """A port of a script in `tests/training_scripts`."""

    script: str
    name: str  #: of the class, in the module that is called as the script
    #: What a right diagnosis names: one of these. Empty for a port that conforms.
    answers: Tuple[Tuple[Edit, ...], ...]
    framework: str

    @property
    def id(self) -> str:
        return f"{self.script}-{self.name}"

    @property
    def conforms(self) -> bool:
        return not self.answers

    @property
    def is_unlisted(self) -> bool:
        """Whether it is right to name nothing."""
        return any(edit.kind == "unlisted" for answer in self.answers for edit in answer)

    def load(self) -> Any:
        return getattr(importlib.import_module(f".{self.script}", __package__), self.name)


SCRIPT_PORTS: List[ScriptPort] = []


def enter(script: str, name: str, *edits: Edit, also: Any = (), framework: str = "torch") -> None:
    """Enter a port.

    Args:
      script, name, framework: As in `ScriptPort`.
      edits: All that is wrong. Without edits the port conforms.
      also: Other right answers, each a list of edits.
    """
    answers = (edits, *map(tuple, also)) if edits else ()
    SCRIPT_PORTS.append(ScriptPort(script, name, answers, framework))


#: Kinds of mistakes that a port of the article cannot make, with the meaning of the value.
OF_SCRIPTS = {
    "operation missing": "none",
    "parts in another order": "the order",
    "other reduction": "its name",
    "other value returned": "its name",
}


def at(kind: str, *places: str, value: Any = None) -> Edit:
    """Returns an edit at places of the graph of a script."""
    assert kind in (*KINDS, *OF_SCRIPTS), kind
    return Edit(kind, frozenset(places), value)


def frozen(*places: str) -> Edit:
    return at("variable frozen", *places)


def missing(*places: str) -> Edit:
    return at("gradient missing", *places)


def unlisted(place: str) -> List[Edit]:
    return [at("unlisted", place)]


three_tasks = functools.partial(enter, "three_tasks")

three_tasks("Conformant")
three_tasks("ReluShared", at("other activation", "Tanh", value="relu"))
three_tasks("NoActivation", at("activation missing", "Tanh"))
three_tasks("PlainMomentum", at("nesterov", "train_label"))
three_tasks("NotCentered", at("other optimizer", "train_class", value="rmsprop, not centered"))
three_tasks(
    "TorchRMSprop",
    at("other optimizer", "train_class", value="rmsprop of pytorch"),
    also=[unlisted("train_class")],
)
three_tasks("DefaultEpsilon", at("epsilon", "train_value", value=1e-8))
three_tasks(
    "FrozenBias", frozen("label_b"), also=[[missing("label_b")], [frozen("train_label/label_b")]]
)
three_tasks("SummedClasses", at("loss scaled", "Mean_1", value=8.0))
three_tasks(
    "DetachedLabels",
    at("gradient stopped", "train_label/shared_W", "train_label/shared_b"),
    also=[[frozen("train_label/shared_W", "train_label/shared_b")]],
)
three_tasks(
    "TwoMistakes",
    at("other activation", "Tanh", value="relu"),
    at("beta1", "train_value", value=0.9),
    at("beta2", "train_value", value=0.999),
)

clipping = functools.partial(enter, "clipping_and_decay", framework="numpy")

clipping("Conformant")
clipping("ClippedOneByOne", at("clipped by norm", "train", value=0.8))
clipping("NotClipped", at("clipping missing", "W1", "b1", "W2", "b2"))
clipping("SmoothDecay", at("operation missing", "ExponentialDecay/Floor"))
clipping(
    "NoHalfInDecay",
    at("penalty in the loss", "W1", "W2", value=0.006),
    also=[
        [at("loss scaled", "AddN", value=2.0)],
        [at("loss weight in the sum", "mul", value=2.0)],
    ],
)
clipping("BiasesDecayToo", at("penalty in the loss", "b1", "b2", value=0.003))
clipping(
    "Dampened",
    at("gradient scaled", "train", value=0.1),
    also=[[at("learning rate", "train", value=0.01)]],
)
clipping(
    "ReportsEntropy", at("other value returned", "train", value="Mean"), also=[unlisted("loss")]
)
clipping("TwoMistakes", missing("b2"), at("other optimizer", "train", value="momentum 0.95"))

convolution = functools.partial(enter, "convolution")

convolution("Conformant")
convolution(
    "AveragePoolFirst",
    at("other reduction", "MaxPool", value="mean"),
)
convolution("NoReluAfterSecond", at("activation missing", "Relu_1"))
convolution("LeakyFirst", at("other activation", "Relu", value="leaky relu, slope 0.1"))
convolution("TorchAdam", at("epsilon place", "train", value="after the correction"))
convolution("DefaultRate", at("learning rate", "train", value=0.001))
convolution("FrozenFirst", frozen("filter_1"), also=[[missing("filter_1")]])
convolution("SummedLoss", at("loss scaled", "loss", value=4.0))

embedding = functools.partial(enter, "embedding_lstm")

embedding("Conformant")
embedding(
    "TorchAdagrad",
    at("other optimizer", "train", value="adagrad from zero"),
    also=[[at("initial weights", "train")], unlisted("train")],
)
embedding(
    "NoForgetBias",
    at("constant", "add_1/y", "add_4/y", "add_7/y", "add_10/y", "add_13/y", value=0.0),
    also=[unlisted("add_1")],
)
embedding(
    "GatesInOtherOrder",
    at(
        "parts in another order",
        *("split", "split_1", "split_2", "split_3", "split_4"),
        value="0, 2, 1, 3",
    ),
)
embedding("SummedLoss", at("loss scaled", "loss", value=15.0))
embedding("FrozenEmbedding", frozen("embedding"), also=[[missing("embedding")]])
embedding("LazyRate", at("learning rate", "train", value=0.1))
embedding("Accumulated", at("gradients accumulate", "train"))
