"""Holds ports of four training scripts, each right and with mistakes of real ports.

An entry states in plain words what is wrong, and what a diagnosis should name: kinds of edits of
`wrong_ports.KINDS`, at nodes, variables or training operations of the recorded graph.
"""

import importlib
from typing import Any, NamedTuple, Tuple

from wrong_ports import KINDS, Edit


class ScriptPort(NamedTuple):
    """A port of a script in `tests/training_scripts`."""

    script: str
    name: str  #: of the class, in the module that is called as the script
    cause: str = ""  #: empty for a port that conforms
    answers: Tuple[Tuple[Edit, ...], ...] = ()  #: what a right diagnosis names, one of these
    framework: str = "torch"

    @property
    def id(self) -> str:
        return f"{self.script}-{self.name}"

    @property
    def conforms(self) -> bool:
        return not self.cause

    @property
    def is_unlisted(self) -> bool:
        """Whether it is right to name nothing."""
        return any(edit.kind == "unlisted" for answer in self.answers for edit in answer)

    def load(self) -> Any:
        return getattr(importlib.import_module(f".{self.script}", __package__), self.name)


def at(kind: str, *places: str, value: Any = None) -> Edit:
    """Return an edit at places of the graph of a script."""
    assert kind in KINDS, kind
    return Edit(kind, frozenset(places), value)


_THREE_TASKS = (
    ScriptPort("three_tasks", "Conformant"),
    ScriptPort(
        "three_tasks",
        "ReluShared",
        "the shared layer has a ReLU in place of tanh",
        ((at("other activation", "Tanh", value="relu"),),),
    ),
    ScriptPort(
        "three_tasks",
        "NoActivation",
        "the shared layer has no activation",
        ((at("activation missing", "Tanh"),),),
    ),
    ScriptPort(
        "three_tasks",
        "PlainMomentum",
        "train_label is Momentum without Nesterov",
        ((at("nesterov", "train_label"),),),
    ),
    ScriptPort(
        "three_tasks",
        "NotCentered",
        "train_class is RMSProp that is not centered",
        ((at("other optimizer", "train_class", value="rmsprop, not centered"),),),
    ),
    ScriptPort(
        "three_tasks",
        "TorchRMSprop",
        "train_class is torch.optim.RMSprop: mean squares start at 0, epsilon is not in the root",
        (
            (at("other optimizer", "train_class", value="rmsprop of pytorch"),),
            (at("unlisted", "train_class"),),
        ),
    ),
    ScriptPort(
        "three_tasks",
        "DefaultEpsilon",
        "epsilon of train_value is 1e-8 in place of 1e-4",
        ((at("epsilon", "train_value", value=1e-8),),),
    ),
    ScriptPort(
        "three_tasks",
        "FrozenBias",
        "the bias label_b is not trained",
        (
            (at("variable frozen", "label_b"),),
            (at("gradient missing", "label_b"),),
            (at("variable frozen", "train_label/label_b"),),
        ),
    ),
    ScriptPort(
        "three_tasks",
        "SummedClasses",
        "class_loss is a sum over the batch, not a mean",
        ((at("loss scaled", "Mean_1", value=8.0),),),
    ),
    ScriptPort(
        "three_tasks",
        "DetachedLabels",
        "the shared layer does not learn from label_loss",
        (
            (at("gradient stopped", "train_label/shared_W", "train_label/shared_b"),),
            (at("variable frozen", "train_label/shared_W", "train_label/shared_b"),),
        ),
    ),
    ScriptPort(
        "three_tasks",
        "TwoMistakes",
        "ReLU in the shared layer; betas of train_value 0.9 and 0.999",
        (
            (
                at("other activation", "Tanh", value="relu"),
                at("beta1", "train_value", value=0.9),
                at("beta2", "train_value", value=0.999),
            ),
        ),
    ),
)
_CLIPPING = tuple(
    ScriptPort("clipping_and_decay", name, cause, answers, "numpy")
    for name, cause, answers in (
        ("Conformant", "", ()),
        (
            "ClippedOneByOne",
            "each gradient is clipped by its own norm",
            ((at("clipped by norm", "train", value=0.8),),),
        ),
        (
            "NotClipped",
            "gradients are not clipped",
            ((at("clipping missing", "W1", "b1", "W2", "b2"),),),
        ),
        (
            "SmoothDecay",
            "the rate decays in every step, not every five",
            ((at("schedule", "train", value="exponential"),),),
        ),
        (
            "NoHalfInDecay",
            "the weight decay has no half",
            (
                (at("penalty in the loss", "W1", "W2", value=0.006),),
                (at("loss scaled", "AddN", value=2.0),),
                (at("loss weight in the sum", "mul", value=2.0),),
            ),
        ),
        (
            "BiasesDecayToo",
            "the weight decay holds for the biases too",
            ((at("penalty in the loss", "b1", "b2", value=0.003),),),
        ),
        (
            "Dampened",
            "momentum averages gradients: 0.9 m + 0.1 g",
            (
                (at("gradient scaled", "train", value=0.1),),
                (at("learning rate", "train", value=0.01),),
            ),
        ),
        (
            "ReportsEntropy",
            "the loss that is returned lacks the weight decay",
            ((at("loss of another task", "train"),), (at("unlisted", "loss"),)),
        ),
        (
            "TwoMistakes",
            "the second layer has no bias gradient; momentum is 0.95",
            (
                (
                    at("gradient missing", "b2"),
                    at("other optimizer", "train", value="momentum 0.95"),
                ),
            ),
        ),
    )
)
_CONVOLUTION = (
    ScriptPort("convolution", "Conformant"),
    ScriptPort(
        "convolution",
        "AveragePoolFirst",
        "average pooling in place of max pooling",
        (
            (at("other activation", "MaxPool", value="average pooling"),),
            (at("unlisted", "MaxPool"),),
        ),
    ),
    ScriptPort(
        "convolution",
        "NoReluAfterSecond",
        "the second convolution has no ReLU",
        ((at("activation missing", "Relu_1"),),),
    ),
    ScriptPort(
        "convolution",
        "LeakyFirst",
        "a leaky ReLU of slope 0.1 after the first convolution",
        ((at("other activation", "Relu", value="leaky relu"),),),
    ),
    ScriptPort(
        "convolution",
        "TorchAdam",
        "epsilon is added after the bias correction",
        ((at("epsilon place", "train", value="after the correction"),),),
    ),
    ScriptPort(
        "convolution",
        "DefaultRate",
        "the rate is 0.001 in place of 0.05",
        ((at("learning rate", "train", value=0.001),),),
    ),
    ScriptPort(
        "convolution",
        "FrozenFirst",
        "the first filter is not trained",
        ((at("variable frozen", "filter_1"),), (at("gradient missing", "filter_1"),)),
    ),
    ScriptPort(
        "convolution",
        "SummedLoss",
        "the loss is a sum over the batch, not a mean",
        ((at("loss scaled", "loss", value=4.0),),),
    ),
)
_EMBEDDING = (
    ScriptPort("embedding_lstm", "Conformant"),
    ScriptPort(
        "embedding_lstm",
        "TorchAdagrad",
        "torch.optim.Adagrad: sums start at 0 and not at 0.1",
        (
            (at("other optimizer", "train", value="adagrad from zero"),),
            (at("initial weights", "train"),),
            (at("unlisted", "train"),),
        ),
    ),
    ScriptPort(
        "embedding_lstm",
        "NoForgetBias",
        "1 is not added to the forget gate",
        ((at("unlisted", "add_1"),),),
    ),
    ScriptPort(
        "embedding_lstm",
        "GatesInOtherOrder",
        "gates are split as i, f, j, o",
        ((at("unlisted", "split"),),),
    ),
    ScriptPort(
        "embedding_lstm",
        "SummedLoss",
        "the loss is a sum over all words, not a mean",
        ((at("loss scaled", "loss", value=15.0),),),
    ),
    ScriptPort(
        "embedding_lstm",
        "FrozenEmbedding",
        "the embedding is not trained",
        ((at("variable frozen", "embedding"),), (at("gradient missing", "embedding"),)),
    ),
    ScriptPort(
        "embedding_lstm",
        "LazyRate",
        "the rate is 0.1 in place of 0.3",
        ((at("learning rate", "train", value=0.1),),),
    ),
    ScriptPort(
        "embedding_lstm",
        "Accumulated",
        "gradients are never zeroed",
        ((at("gradients accumulate", "train"),),),
    ),
)
SCRIPT_PORTS = _THREE_TASKS + _CLIPPING + _CONVOLUTION + _EMBEDDING
