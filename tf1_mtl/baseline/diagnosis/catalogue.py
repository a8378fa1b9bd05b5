"""Lists the known mistakes of ports in feeds, layers and losses, and the words for all of them.

The places come from the recorded graph. Mistakes in the updates are in `update_catalogue.py`.
To add a mistake, add a line to a list and, if its kind is new, a line to `WORDS`.
"""

import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple

import numpy as np

#: Kinds of edits, with the words of the report. `{places}` and `{value}` are filled in.
WORDS: Dict[str, str] = {
    "feed scaled": "{places} is multiplied by {value}",
    "feed of another": "{value} is fed as {places} too",
    "feed flipped": "{places} is 1 minus what is fed",
    "feed of ones": "{places} is 1 everywhere",
    "feed always": "{places} is always {value}",
    "feed negated": "{places} is true where false is fed, and false where true is fed",
    "feed shifted": "{value} is added to {places}",
    "feed rounded": "{places} is rounded to {value}",
    "feeds swapped": "{places} are swapped",
    "feed transposed": "{places} is read column by column",
    "feed broadcast": "the {value} of {places} is used for all",
    "labels smoothed": "{places} is smoothed by {value}",
    "feed of an earlier step": "{places} is taken from an earlier step ({value})",
    "activation missing": "there is no activation at {places}",
    "activation added": "{value} is applied to {places}",
    "activation first": "{places} comes before the normalization",
    "operation missing": "{places} is left out; the input is passed on",
    "other function": "{places} gives {value}",
    "input left out": "{places} is computed without {value}",
    "other tensor": "{places} takes {value}",
    "output scaled": "{places} is multiplied by {value}",
    "divided by": "{places} divides by {value}",
    "parts in another order": "the parts at {places} are taken in the order {value}",
    "other reduction": "{places} takes the {value}",
    "other axis": "{places} is taken along the axis {value}",
    "dropout missing": "the dropout at {places} is left out",
    "dropout not scaled": (
        "what the dropout at {places} keeps is not divided by the probability to keep it"
    ),
    "dropout probability": "the dropout at {places} keeps with the probability to drop",
    "dropout mask": "the dropout at {places} keeps where the random number is small, not large",
    "complement": "1 minus {places} is taken for {places}",
    "mask missing": "the mask at {places} is 1 everywhere",
    "smoothing missing": "{places} is left out: the labels are not smoothed",
    "smoothing of others": "{places} gives the smoothed part to the wrong classes alone",
    "channels first": "{places} flattens images with the channels first",
    "padding": "{places} pads {value}",
    "rows broadcast": "{places} broadcasts operands: each row against all rows",
    "moments detached": "no gradient passes the mean and the variance at {places}",
    "other variance": "{places} averages the variance over {value}",
    "variable of another": "{value} is used in place of {places}",
    "variables swapped": "{places} are used in place of each other",
    "other activation": "the activation at {places} is {value}",
    "gradient of relu": "the gradient of {places} is still that of relu",
    "slope at zero": "the gradient of {places} at exactly 0 is {value}",
    "slope ignored": "the gradient passes {places} unchanged",
    "bias added": "a bias is added before {places}, and trained",
    "precision of products": "the products at {places} are computed in {value}",
    "loss scaled": "the loss at {places} is multiplied by {value}",
    "loss weight in the sum": "{places} has the weight {value} in the sum of losses",
    "mean over outputs": "the loss at {places} is {value} times the mean of squares",
    "mean over batch": "the loss at {places} is {value} times the sum of squares / rows",
    "constant": "{places} is {value}",
    "other loss": "the loss at {places} is the {value}",
    "penalty in the loss": "{value} / 2 times the squares of {places} are added to the loss",
    "gradient missing": "there is no gradient for {places}",
    "stop missing": "the gradient passes {places}, where TensorFlow stops it",
    "gradient stopped": "the gradient stops at {places}",
    "gradient scaled": "the gradient of {places} is multiplied by {value}",
    "clipped by value": "the gradients of {places} are clipped to [-{value}, {value}]",
    "clipped by norm": "each gradient of {places} is clipped to the norm {value}",
    "clipped by global norm": "the gradients of {places} are clipped to the global norm {value}",
    "scaled to global norm": (
        "the gradients of {places} are scaled to the global norm {value}, also where it is less"
    ),
    "clipped by norm of sums": (
        "the gradients of {places} are clipped to the global norm {value}, in which the rows of a "
        "lookup are summed"
    ),
    "clipping missing": "the gradients of {places} are not clipped as the graph clips them",
    "gradients accumulate": "the gradients of {places} add up from step to step",
    "gradients of several runs": "one update of {places} uses the {value}",
    "gradients stale": "{places} applies the gradients of the run before",
    "gradients after an update": "the other gradients are taken after {places} moved",
    "gradients through moved weights": "the gradients flow through {places} after the update",
    "L2 in the gradient": "{value} times the weight is added to the gradient of {places}",
    "weight decay": "{places} decays by {value} of the rate (decoupled, as in AdamW)",
    "learning rate": "the learning rate of {places} is {value}",
    "moved by a factor": "{places} moves {value} times as far as in the graph",
    "averaged before": "{places} follows the weights as they are before the run",
    "averaged after": "{places} follows the weights as they are after the run",
    "moved by a schedule": "{places} moves by a part that has another schedule: {value}",
    "copied in part": "{places} moves by {value} of the way to the source",
    "schedule": "the learning rate of {places} has another schedule: {value}",
    "epsilon": "epsilon of {places} is {value}",
    "epsilon place": "epsilon of {places} is added {value}",
    "beta1": "beta1 of {places} is {value}",
    "beta2": "beta2 of {places} is {value}",
    "rho": "rho of {places}, the decay of its mean squares, is {value}",
    "all rows": "{places} moves in all rows, also where no gradient is",
    "rows set": "where a row of {places} has several gradients, only the last one counts",
    "first slot": "the accumulator of {places} starts at {value}",
    "l1 of ftrl": "the L1 strength of {places} is {value}",
    "l2 of ftrl": "the L2 strength of {places} is {value}",
    "bias correction": "the bias correction of {places}: {value}",
    "nesterov": "{places} differs in Nesterov momentum",
    "amsgrad": "{places} is AMSGrad",
    "lazy adam": "{places} rests where the gradient is zero (lazy Adam)",
    "other optimizer": "the optimizer of {places} is {value}",
    "slots shared": "{places} share their slots",
    "powers shared": "{places} share their step counter",
    "state reset": "the state of {places} starts afresh: {value}",
    "step counter": "the step counter of {places}: {value}",
    "initial weights": "{places} does not start at the given weights",
    "variable frozen": "{places} is not trained",
    "variable updated late": "the update of {places} takes effect one run later",
    "precision of variables": "{places} is kept in {value}",
    "trains more": "{places} trains on another loss too, or trains other weights too",
    "trains less": "{places} trains on a part of the loss",
    "two steps": "{places} makes one step after the other for its parts",
    "step repeated": "{places} trains {value} times on each batch",
    "step skipped": "{places} skips updates: {value}",
    "loss after the update": "{places} returns the loss after the update",
    "loss of another task": "{places} returns another loss",
    "other value returned": "{places} returns {value}, not the loss",
    "loss rounded": "{places} returns a rounded loss ({value})",
    "loss averaged": "{places} returns an average of losses ({value})",
    "loss late": "{places} returns the loss of the run before",
    "reported loss scaled": "the loss at {places} is returned times {value}, and trained on as is",
    "weights stale": "losses and gradients are those of the weights of the run before",
    "weights late": "weights() shows {places} of one run before",
    "weights transposed": "weights() shows {places} transposed",
}


#: Kinds whose places are feeds. A feed may have the name of a task.
OF_FEEDS = {kind for kind in WORDS if kind.startswith("feed") or kind == "labels smoothed"}
#: Kinds that the report places at weights, where the optimizers would say the same.
OF_VARIABLES = {
    "variable frozen",
    "gradient missing",
    "gradient scaled",
    "moved by a factor",
    "moved by a schedule",
    "clipped by value",
    "gradients accumulate",
    "L2 in the gradient",
    "weight decay",
    "variable updated late",
    "precision of variables",
}


# Roundings of float64 arrays


def bfloat16(x: np.ndarray) -> np.ndarray:
    """Returns numbers rounded to bfloat16, which has 16 bits fewer than float32."""
    return _shortened(x, 16)


def tf32(x: np.ndarray) -> np.ndarray:
    """Returns numbers rounded to TF32, which has 13 bits fewer than float32."""
    return _shortened(x, 13)


def _shortened(x: np.ndarray, bits: int) -> np.ndarray:
    """Returns float32 numbers without their last bits, rounded to nearest, ties to even."""
    single = np.ascontiguousarray(x, np.float32)
    as_int = single.view(np.uint32)
    half = np.uint32((1 << (bits - 1)) - 1)
    rounded = as_int + half + ((as_int >> np.uint32(bits)) & np.uint32(1))
    kept = rounded & np.uint32((0xFFFFFFFF << bits) & 0xFFFFFFFF)
    return kept.view(np.float32).astype(np.float64).reshape(np.shape(x))


def float16(x: np.ndarray) -> np.ndarray:
    """Returns numbers rounded to float16."""
    with np.errstate(over="ignore"):
        return np.asarray(x).astype(np.float16).astype(np.float64)


def _cut(bits: int) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that cuts off the last bits of float32."""
    kept = np.uint32((0xFFFFFFFF << bits) & 0xFFFFFFFF)

    def cut(x: np.ndarray) -> np.ndarray:
        as_int = np.ascontiguousarray(x, np.float32).view(np.uint32) & kept
        return as_int.view(np.float32).astype(np.float64).reshape(np.shape(x))

    return cut


def _kept(x: np.ndarray) -> np.ndarray:
    return x


PRECISIONS = {"bfloat16": bfloat16, "float16": float16, "tf32": tf32}
#: Of weights between steps.
STORED = {"bfloat16": bfloat16, "float16": float16, "bfloat16, cut off": _cut(16)}
#: Precisions of the operands of products, and of their results. tf32 is first, since it is likelier
#: than float16, and most numbers are the same in both.
PRODUCT_PRECISIONS = {
    "tf32": (tf32, _kept),
    **{name: (rounded, _kept) for name, rounded in PRECISIONS.items()},
    "tf32, cut off": (_cut(13), _kept),
    "bfloat16, cut off": (STORED["bfloat16, cut off"], _kept),
    "bfloat16 with bfloat16 results": (bfloat16, bfloat16),
    "float16 with float16 results": (float16, float16),
}

# Forward: feeds, layers, losses


class FeedEdit(NamedTuple):
    """Describes a change of one feed."""

    kind: str
    value: Any
    function: Callable[[np.ndarray], np.ndarray]


def _smoothed(amount: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that smooths labels by an amount."""
    return lambda y: y * (1 - amount) + amount / y.shape[-1]


def _repeated(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that gives the result of another one the shape of its argument."""
    return lambda x: np.broadcast_to(function(x), x.shape)


FEEDS: List[FeedEdit] = [
    *(FeedEdit("feed rounded", name, function) for name, function in PRECISIONS.items()),
    FeedEdit("feed rounded", "integer", np.trunc),
    FeedEdit("feed rounded", "nearest integer", np.rint),
    FeedEdit("feed flipped", None, lambda x: 1 - x),
    FeedEdit("feed of ones", None, np.ones_like),
    FeedEdit("feed transposed", None, lambda x: np.ascontiguousarray(x.T).reshape(x.shape)),
    FeedEdit("feed broadcast", "first row", _repeated(lambda x: x[:1])),
    FeedEdit("feed broadcast", "first column", _repeated(lambda x: x[..., :1])),
    FeedEdit("feed broadcast", "mean of the row", _repeated(lambda x: x.mean(-1, keepdims=True))),
    FeedEdit("feed broadcast", "mean of the column", _repeated(lambda x: x.mean(0, keepdims=True))),
    *(FeedEdit("labels smoothed", a, _smoothed(a)) for a in (0.1, 0.05, 0.2, 0.01)),
]
#: Changes of a feed that is one number, and of one that is true or false.
NUMBERS: List[FeedEdit] = [
    FeedEdit("feed flipped", None, lambda x: 1 - x),
    FeedEdit("feed always", 1, np.ones_like),
    FeedEdit("feed always", 0, np.zeros_like),
]
TRUTHS: List[FeedEdit] = [
    FeedEdit("feed always", True, np.ones_like),
    FeedEdit("feed always", False, np.zeros_like),
    FeedEdit("feed negated", None, lambda x: 1 - x),
]
#: Changes of a feed by a number, with the numbers that are tried first.
FEED_FACTORS = (1 / 255, 2.0, 0.5, 0.1, 10.0, -1.0, 0.01, 100.0, 255.0)
FEED_SHIFTS = (1.0, -1.0, 0.5, -0.5)
EARLIER = ("first batch of the task", "run before of the task", "run before")


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _tanh_slope(x: np.ndarray) -> np.ndarray:
    return 1 - np.tanh(x) ** 2


class Activation(NamedTuple):
    """Holds a function and its derivative, of float64 arrays."""

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]


def leaky(slope: float) -> Activation:
    """Returns a leaky ReLU with this slope below 0."""
    return Activation(
        f"leaky relu, slope {slope:.3g}",
        lambda x: np.where(x > 0, x, slope * x),
        lambda x: np.where(x > 0, 1.0, slope),
    )


_SELU = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772
_GELU = np.sqrt(2 / np.pi)


def _gelu_by_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(_GELU * (x + 0.044715 * x**3)))


def _gelu_by_tanh_slope(x: np.ndarray) -> np.ndarray:
    inner = np.tanh(_GELU * (x + 0.044715 * x**3))
    return 0.5 * (1 + inner) + 0.5 * x * (1 - inner**2) * _GELU * (1 + 3 * 0.044715 * x**2)


def _normal_share(x: np.ndarray) -> np.ndarray:
    """Returns the distribution function of the normal distribution."""
    return 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(x / np.sqrt(2)))


def _gelu_slope(x: np.ndarray) -> np.ndarray:
    return _normal_share(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


ACTIVATIONS: List[Activation] = [
    Activation("", lambda x: x, np.ones_like),
    Activation("relu", lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    leaky(0.01),
    leaky(0.1),
    leaky(0.2),
    leaky(0.3),
    Activation("tanh", np.tanh, _tanh_slope),
    Activation("sigmoid", _sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    Activation(
        "hard sigmoid",
        lambda x: np.clip(0.2 * x + 0.5, 0, 1),
        lambda x: 0.2 * (np.abs(x) < 2.5),
    ),
    Activation(
        "hard sigmoid of pytorch",
        lambda x: np.clip(x / 6 + 0.5, 0, 1),
        lambda x: (np.abs(x) < 3) / 6,
    ),
    Activation("relu6", lambda x: np.clip(x, 0, 6), lambda x: ((x > 0) & (x < 6)) * 1.0),
    Activation(
        "elu",
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0))),
    ),
    Activation("softplus", lambda x: np.logaddexp(x, 0), _sigmoid),
    Activation(
        "silu",
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x))),
    ),
    Activation(
        "selu",
        lambda x: _SELU * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
        lambda x: _SELU * np.where(x > 0, 1.0, _SELU_ALPHA * np.exp(np.minimum(x, 0))),
    ),
    Activation("gelu", lambda x: x * _normal_share(x), _gelu_slope),
    Activation("gelu by tanh", _gelu_by_tanh, _gelu_by_tanh_slope),
    Activation("abs", np.abs, np.sign),
    Activation("softsign", lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
]
#: Operations of a graph that are activations, and which of the list above they are.
ACTIVATION_OPS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Elu": "elu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "LeakyRelu": "leaky relu",
}


def activation_of(op: str, attributes: Mapping[str, Any]) -> Activation:
    """Returns the activation of an operation of a graph."""
    if op == "LeakyRelu":
        return leaky(float(attributes["alpha"]))
    return next(x for x in ACTIVATIONS if x.name == ACTIVATION_OPS[op])


class Loss(NamedTuple):
    """Describes a loss that sums a function of the error, in place of half its square."""

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    rounding: float = 0.0  #: rounding error of each element, also of a small one


LOSSES: List[Loss] = [
    Loss("absolute error", np.abs, np.sign),
    Loss(
        "huber",
        lambda e: np.where(np.abs(e) < 1, e * e / 2, np.abs(e) - 0.5),
        lambda e: np.clip(e, -1, 1),
    ),
    Loss("log-cosh", lambda e: np.logaddexp(e, -e) - np.log(2), np.tanh, 2.0**-24),
]
SLOPES_AT_ZERO = (1.0, 0.5)
BIAS_STARTS = (0.0, 0.1, 0.01)
