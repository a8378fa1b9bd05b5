"""The benchmark: microseconds a joint step, of the step modes and of other frameworks.

    python -m tests.benchmarks --help

A *contender* is a function that takes a `Problem` and returns `run`, which trains once on all
batches of the problem and returns their losses. All start from the same weights, take the same
batches and use Adam with the constants of TensorFlow 1. The table states how far the last loss of
each is from that of `session`. Each contender runs in a process of its own. The rounds of all of
them alternate, so that a change in the load of the machine affects all alike.

The other frameworks are the conformant ports of `tests/ports`, one implementation for each.
"""

from typing import Dict, NamedTuple, Tuple


class Contender(NamedTuple):
    """Describes where the function of a contender is, and what it needs."""

    module: str  #: under tests.benchmarks
    function: str
    package: str  #: must be importable; of the C contender, a compiler
    what: str


OURS: Dict[str, Contender] = {
    "session": Contender("ours", "session", "tensorflow", "the loop of tf1_mtl around session.run"),
    "prepared": Contender("ours", "prepared", "tensorflow", "prepared calls, data in the graph"),
    "in-graph": Contender("ours", "in_graph", "tensorflow", "tf.while_loop in one session.run"),
    "compiled": Contender("ours", "compiled", "tensorflow", "the loop compiled by XLA"),
}

PEERS: Dict[str, Contender] = {
    "bare": Contender("ours", "bare", "tensorflow", "a bare session.run loop, nothing checked"),
    "numpy": Contender("peers", "numpy", "numpy", "NumPy by hand"),
    "c": Contender("c_peer", "by_hand", "a C compiler", "one fused loop in C, one core"),
    "tf-function": Contender("peers", "tf_function", "keras", "tf.function and Adam of Keras"),
    "keras": Contender("peers", "keras", "keras", "Keras train_on_batch"),
    "jax-jit": Contender("peers", "jax_jit", "jax", "jax.jit, a call a step"),
    "jax-scan": Contender("peers", "jax_scan", "jax", "stacks a list, jax.lax.scan over it"),
    "jax-stacked": Contender("peers", "jax_stacked", "jax", "jax.lax.scan over stacked arrays"),
    "compiled-stacked": Contender(
        "ours", "compiled_stacked", "tensorflow", "the loop of compiled on stacked arrays"
    ),
    "torch": Contender("peers", "torch", "torch", "PyTorch, eager"),
    "torch-compile": Contender("torch_compile", "compiled", "torch", "torch.compile of a step"),
}

CONTENDERS = {**OURS, **PEERS}

#: The baselines of wide layers: arithmetic, and memory.
BASELINE = {
    "products": Contender("ours", "products", "tensorflow", "a step's matrix products"),
    "triad": Contender("ours", "triad", "tensorflow", "a -= 2 * b on arrays of a weight's size"),
}

#: (contender, against, at most this ratio of their times)
GOALS: Tuple[Tuple[str, str, float], ...] = (
    ("session", "bare", 1.05),
    ("prepared", "numpy", 0.7),
    ("prepared", "jax-jit", 0.4),
    ("prepared", "torch", 0.1),
    ("prepared", "tf-function", 0.05),
    ("in-graph", "numpy", 0.7),
    ("compiled", "jax-scan", 0.75),
    ("compiled-stacked", "jax-stacked", 0.85),
    ("compiled", "c", 4.0),
)
