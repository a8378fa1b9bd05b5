"""The benchmark: microseconds a joint step, of our ways of stepping and of what else one may pick.

A *contender* is a function that takes a `Problem` and returns `run`, which trains on all the
problem's batches once and returns their losses. All start from the same weights, take the same
batches and use Adam with TensorFlow 1's constants; the table says how far each one's last loss is
from `session`'s. Each runs in a process of its own, and the rounds of all of them alternate, so
that a change in the machine's load meets all alike.
"""

from typing import Dict, NamedTuple, Tuple


class Contender(NamedTuple):
    """Where a contender's function is, and what it needs."""

    module: str  #: under tf1_mtl.scale.bench
    function: str
    package: str  #: must be importable, or for the C one: a compiler
    what: str


OURS: Dict[str, Contender] = {
    "session": Contender("ours", "session", "tensorflow", "our loop around session.run"),
    "prepared": Contender("ours", "prepared", "tensorflow", "prepared calls, data in the graph"),
    "in-graph": Contender("ours", "in_graph", "tensorflow", "tf.while_loop in one session.run"),
    "compiled": Contender("ours", "compiled", "tensorflow", "the loop compiled by XLA"),
}

PEERS: Dict[str, Contender] = {
    "bare": Contender("ours", "bare", "tensorflow", "a bare session.run loop, nothing checked"),
    "numpy": Contender("numpy_peer", "by_hand", "numpy", "NumPy by hand"),
    "c": Contender("c_peer", "by_hand", "a C compiler", "one fused loop in C, one core"),
    "tf-function": Contender("keras_peers", "function", "keras", "tf.function and Keras's Adam"),
    "keras": Contender("keras_peers", "train_on_batch", "keras", "Keras train_on_batch"),
    "jax-jit": Contender("jax_peers", "jit", "jax", "jax.jit, a call a step"),
    "jax-scan": Contender("jax_peers", "scan", "jax", "jax.lax.scan over all steps"),
    "torch": Contender("torch_peers", "eager", "torch", "PyTorch, eager"),
    "torch-compile": Contender("torch_peers", "compiled", "torch", "torch.compile of a whole step"),
}

CONTENDERS = {**OURS, **PEERS}

#: No contender, but what wide layers are held against.
YARDSTICK = {"products": Contender("ours", "products", "tensorflow", "a step's matrix products")}

#: (contender, against, at most this ratio of their times)
GOALS: Tuple[Tuple[str, str, float], ...] = (
    ("session", "bare", 1.05),
    ("prepared", "numpy", 0.7),
    ("prepared", "jax-jit", 0.4),
    ("prepared", "torch", 0.1),
    ("prepared", "tf-function", 0.05),
    ("in-graph", "numpy", 0.7),
    ("compiled", "jax-scan", 0.75),
    ("compiled", "c", 4.0),
)
