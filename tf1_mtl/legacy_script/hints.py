"""Finds the line of advice that belongs to an uncaught error of a TensorFlow 1 script."""

import re
from typing import Tuple

_REAL_TENSORFLOW_1 = (
    "run it on a real TensorFlow 1.15 (Python 3.7: pip install tensorflow==1.15.5 'protobuf<3.21')"
)


def _lacks(names: str) -> str:
    """Returns the pattern of an attribute or an import that TensorFlow does not have."""
    return (
        rf"module 'tensorflow\S* has no attribute '({names})'"
        rf"|cannot import name '({names})' from 'tensorflow"
    )


#: What the report of an uncaught error matches, what is missing, and what to do.
_HINTS: Tuple[Tuple[str, str], ...] = (
    (
        _lacks("contrib") + r"|'tensorflow\.contrib",
        "tf.contrib went with TensorFlow 2.0. For slim: pip install tf_slim, and import tf_slim; "
        f"for the rest, {_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks("layers|rnn_cell") + r"|not available with Keras 3"
        r"|(module|cannot import name \S+ from) 'keras\._tf_keras"
        r"|Could not interpret optimizer identifier: <tensorflow"
        r"|(?s:keras.src.*Dataset` only supports Python-style iteration)",  # its fit, in a graph
        "tf.layers, tf.nn.rnn_cell and Keras's v1 API went with Keras 3 (TensorFlow 2.16). Install "
        "Keras 2 (pip install tf_keras, in TensorFlow's own version) and set TF_USE_LEGACY_KERAS=1 "
        f"in the environment, use a TensorFlow below 2.16, or {_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks("estimator") + r"|'tensorflow\.estimator",
        "tf.estimator went with TensorFlow 2.16. Use a TensorFlow below 2.16, or "
        f"{_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks("examples") + r"|'tensorflow\.examples",
        "tensorflow.examples (its MNIST reader too) went with TensorFlow 2.0. Read the data in "
        f"another way, or {_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks(".*") + r"|No module named '[tT]ensorflow\.",
        "This is not in the v1 API of the TensorFlow here. Look for its new place, or "
        f"{_REAL_TENSORFLOW_1}.",
    ),
    (
        r"SyntaxError: Missing parentheses in call to 'print'"
        r"|SyntaxError: multiple exception types must be parenthesized|TabError: "
        r"|NameError: name '(xrange|raw_input|unicode)' is not defined"
        r"|No module named '(cPickle|urllib2|StringIO|cStringIO|ConfigParser|Queue)'"
        r"|'dict' object has no attribute '(iteritems|has_key)'",
        "The script is written for Python 2. Convert it first, for example with 2to3 (which Python "
        "has up to 3.12).",
    ),
    (
        r"NameError: name '(np|numpy)' is not defined",
        "NumPy is not imported; one published listing of the article lacks the line too. Add "
        "`import numpy as np` at the top of the script.",
    ),
    (
        r"TypeError: .*[Ff]etch(?s:.*) has invalid type (<class 'numpy\.|\"(u?int|float|ndarray))",
        "This name held a tensor until its value replaced it, as in `_, Joint_Loss = "
        "session.run([Optimiser, Joint_Loss])`. Give the value a name of its own: see lesson 8, "
        "legacy_examples/8_pitfalls.py.",
    ),
)


def hint_for(report: str) -> str:
    """Returns the advice for an error's traceback and message; "" if there is not one."""
    for pattern, hint in _HINTS:
        if re.search(pattern, report):
            return hint
    return ""
