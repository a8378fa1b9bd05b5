"""What ports use in place of TensorFlow's float32, ReLU, l2_loss and Adam: tables for `Deviant`."""

import math
from typing import Any, Callable, Dict, Tuple

import numpy as np

Function = Callable[..., Any]


def _to_bits(bits: int, integer: Function) -> Function:
    """Rounds to a number of significant bits. `integer` is np.rint (to nearest) or np.trunc."""

    def rounded(x: np.ndarray) -> np.ndarray:
        mantissa, exponent = np.frexp(x)
        return np.ldexp(integer(mantissa * 2**bits), exponent - bits)

    return rounded


def _float16(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(x.dtype)


ROUNDINGS: Dict[str, Function] = {
    "bfloat16": _to_bits(8, np.rint),
    "bfloat16 cut off": _to_bits(8, np.trunc),
    "float16": _float16,
    "tf32": _to_bits(11, np.rint),
    "tf32 cut off": _to_bits(11, np.trunc),
    "integer": np.trunc,
}

_erf = np.vectorize(math.erf, otypes=[float])
_HALF_WIDTH = math.sqrt(2 / math.pi)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(z / 2))


def _single(y: np.ndarray) -> np.ndarray:
    """Where float32 has reached 1, a slope that is taken from the output is 0."""
    return y.astype(np.float32).astype(y.dtype)


def _softplus(z: np.ndarray) -> np.ndarray:
    return np.logaddexp(z, 0)


def _gelu(z: np.ndarray) -> np.ndarray:
    return 0.5 * z * (1 + _erf(z / math.sqrt(2)))


def _gelu_slope(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + _erf(z / math.sqrt(2))) + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _gelu_tanh(z: np.ndarray) -> np.ndarray:
    return 0.5 * z * (1 + np.tanh(_HALF_WIDTH * (z + 0.044715 * z**3)))


def _gelu_tanh_slope(z: np.ndarray) -> np.ndarray:
    tanh = np.tanh(_HALF_WIDTH * (z + 0.044715 * z**3))
    return 0.5 * (1 + tanh) + 0.5 * z * (1 - tanh**2) * _HALF_WIDTH * (1 + 0.134145 * z**2)


# {name: (activation, its slope)}, functions of the pre-activation.
ACTIVATIONS: Dict[str, Tuple[Function, Function]] = {
    "linear": (lambda z: z, np.ones_like),
    "relu with slope 1 everywhere": (lambda z: np.maximum(z, 0), np.ones_like),
    "elu": (
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.exp(np.minimum(z, 0)),
    ),
    "softplus": (_softplus, _sigmoid),
    "gelu": (_gelu, _gelu_slope),
    "gelu by tanh": (_gelu_tanh, _gelu_tanh_slope),
    "silu": (
        lambda z: z * _sigmoid(z),
        lambda z: _sigmoid(z) * (1 + z * (1 - _sigmoid(z))),
    ),
    "relu6": (
        lambda z: np.clip(z, 0, 6),
        lambda z: ((z > 0) & (z < 6)).astype(z.dtype),
    ),
    "tanh": (np.tanh, lambda z: 1 - _single(np.tanh(z)) ** 2),
    "sigmoid": (_sigmoid, lambda z: _single(_sigmoid(z)) * (1 - _single(_sigmoid(z)))),
}


def leaky(leak: float) -> Tuple[Function, Function]:
    """The activation with this slope below zero, and its slope."""
    return lambda z: np.where(z > 0, z, leak * z), lambda z: np.where(z > 0, 1, leak)


# {name: (loss, its slope)}, functions of each difference; Rules.loss_factor / 0.5 comes on top.
LOSSES: Dict[str, Tuple[Function, Function]] = {
    "the absolute error": (np.abs, np.sign),
    "Huber's": (
        lambda d: np.where(np.abs(d) < 1, d * d / 2, np.abs(d) - 0.5),
        lambda d: np.clip(d, -1, 1),
    ),
    "log-cosh": (lambda d: np.logaddexp(d, -d) - math.log(2), np.tanh),
}


# Those that lose most digits of float32: near 1 a slope, near 0 a loss is what is left of two ones.
ROUGH = {"tanh", "sigmoid", "log-cosh"}


def _larger(model: Any, a: Any, b: Any) -> Any:
    return b + model.pointwise(lambda x: np.maximum(x, 0), a - b)


def _moved(model: Any, optimizer: str, variable: str, slot: str, g: Any, rate: float) -> Any:
    """Keeps a moving average, which starts at zero, in the slots of the model."""
    key = optimizer, variable, slot
    old = model.slots.get(key, g * model.number(0))
    model.slots[key] = model.average(old, g, model.number(1) - model.number(rate))
    return model.slots[key]


def _sgd(model: Any, optimizer: str, variable: str, g: Any) -> Any:
    return g * model.learning_rate


def _momentum(model: Any, optimizer: str, variable: str, g: Any) -> Any:
    key, momentum = (optimizer, variable, "momentum"), model.number(model.rules.momentum)
    model.slots[key] = model.slots[key] * momentum + g if key in model.slots else g
    return model.slots[key] * model.learning_rate


def _nesterov(model: Any, optimizer: str, variable: str, g: Any) -> Any:
    ahead = _momentum(model, optimizer, variable, g) * model.number(model.rules.momentum)
    return g * model.learning_rate + ahead


def _rmsprop(rate: float, epsilon: float, place: str, start: float = 0.0) -> Function:
    def step(model: Any, optimizer: str, variable: str, g: Any) -> Any:
        key = optimizer, variable, "v"
        if model.steps_of[optimizer] == 0:
            model.slots[key] = g * model.number(0) + model.number(start)
        v = _moved(model, optimizer, variable, "v", g * g, rate)
        small = model.number(epsilon)
        root = model.sqrt(v + small) if place == "root" else model.sqrt(v) + small
        return g * model.learning_rate / root

    return step


def _adagrad(start: float) -> Function:
    def step(model: Any, optimizer: str, variable: str, g: Any) -> Any:
        key = optimizer, variable, "sum"
        before = model.slots.get(key, g * model.number(0) + model.number(start))
        model.slots[key] = before + g * g
        return g * model.learning_rate / (model.sqrt(model.slots[key]) + model.number(1e-10))

    return step


def _amsgrad(model: Any, optimizer: str, variable: str, g: Any) -> Any:
    m = _moved(model, optimizer, variable, "m", g, model.rules.beta1)
    v = _moved(model, optimizer, variable, "v", g * g, model.rules.beta2)
    key = optimizer, variable, "largest v"
    model.slots[key] = _larger(model, model.slots[key], v) if key in model.slots else v
    return m * model.alpha(optimizer) / model.denominator(optimizer, model.slots[key])


def _adam_by(size: Function, root: bool) -> Function:
    """Adam whose v is the mean of another size of the gradient, with or without its root."""

    def step(model: Any, optimizer: str, variable: str, g: Any) -> Any:
        m = _moved(model, optimizer, variable, "m", g, model.rules.beta1)
        v = _moved(model, optimizer, variable, "v", size(model, g), model.rules.beta2)
        below = model.denominator(optimizer, v) if root else v + model.epsilon
        return m * model.alpha(optimizer) / below

    return step


def _magnitude(model: Any, g: Any) -> Any:
    return model.pointwise(np.abs, g)


def _adamax(model: Any, optimizer: str, variable: str, g: Any) -> Any:
    m = _moved(model, optimizer, variable, "m", g, model.rules.beta1)
    key, size = (optimizer, variable, "largest g"), model.pointwise(np.abs, g)
    if key in model.slots:
        size = _larger(model, model.slots[key] * model.beta2, size)
    model.slots[key] = size
    correction = model.number(1) - model.slots[optimizer, "", "beta1_power"]
    return m * (model.learning_rate / correction) / (size + model.epsilon)


def _nadam(model: Any, optimizer: str, variable: str, g: Any) -> Any:
    one = model.number(1)
    m = _moved(model, optimizer, variable, "m", g, model.rules.beta1)
    v = _moved(model, optimizer, variable, "v", g * g, model.rules.beta2)
    power = model.slots[optimizer, "", "beta1_power"]
    ahead = m * model.beta1 / (one - power * model.beta1) + g * (one - model.beta1) / (one - power)
    root = model.sqrt(v / (one - model.slots[optimizer, "", "beta2_power"]))
    return ahead * model.learning_rate / (root + model.epsilon)


def _simple_nadam(hat: bool) -> Function:
    """Steps ahead as Nesterov does, with both bias corrections of this step (Dozat, 2016).

    With "epsilon hat" it is `tf.contrib.opt.NadamOptimizer`.
    """

    def step(model: Any, optimizer: str, variable: str, g: Any) -> Any:
        one = model.number(1)
        m = _moved(model, optimizer, variable, "m", g, model.rules.beta1)
        v = _moved(model, optimizer, variable, "v", g * g, model.rules.beta2)
        ahead = (m * model.beta1 + g * (one - model.beta1)) * model.alpha(optimizer)
        second = model.sqrt(one - model.slots[optimizer, "", "beta2_power"])
        return ahead / (model.sqrt(v) + (model.epsilon if hat else model.epsilon * second))

    return step


# {name: step(model, optimizer, variable, gradient) -> what to subtract}
OPTIMIZER_STEPS: Dict[str, Function] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "rmsprop": _rmsprop(0.9, 1e-10, "root", start=1.0),  # tf.train.RMSPropOptimizer
    "rmsprop of Keras": _rmsprop(0.9, 1e-7, "root"),
    "rmsprop of PyTorch": _rmsprop(0.99, 1e-8, "outside"),
    "adagrad": _adagrad(0.1),
    "adagrad from zero": _adagrad(0.0),
    "amsgrad": _amsgrad,
    "adamax": _adamax,
    "nadam": _nadam,
    "nadam of TensorFlow 1": _simple_nadam(hat=True),
    "simple nadam": _simple_nadam(hat=False),
    "the root of the mean |g|": _adam_by(_magnitude, root=True),
    "the mean |g|": _adam_by(_magnitude, root=False),
    "the mean square": _adam_by(lambda model, g: g * g, root=False),
}
