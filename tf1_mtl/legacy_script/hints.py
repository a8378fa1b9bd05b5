"""Finds a line of advice for an uncaught error of a TensorFlow 1 script."""

import re
from typing import Tuple

from tf1_mtl.legacy_script.contrib import SUCCESSORS

_REAL_TENSORFLOW_1 = (
    "run it on a real TensorFlow 1.15 (Python 3.7: pip install tensorflow==1.15.5 'protobuf<3.21')"
)
_EXTRA = "pip install 'tf1-mtl[legacy]'"


def _lacks(names: str) -> str:
    """Returns the pattern of a missing name, as `_asked_for` writes it."""
    return rf"(?m:^asked for tensorflow\.(\S*\.)?(?P<name>{names})$)"


#: What the report of an uncaught error matches, what is missing, and what to do.
_HINTS: Tuple[Tuple[str, str], ...] = (
    (
        _lacks(rf"contrib\.({'|'.join(SUCCESSORS)})"),
        f"tf.{{name}} is not in TensorFlow 2. Other packages continue it: {_EXTRA}.",
    ),
    (
        _lacks(r"contrib\.\S+"),
        f"tf.{{name}} is not in TensorFlow 2, and has no successor here: {_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks("layers|rnn_cell") + r"|not available with Keras 3"
        r"|(module|cannot import name \S+ from) 'keras\._tf_keras"
        r"|Could not interpret optimizer identifier: <tensorflow"
        r"|(?s:keras.src.*Dataset` only supports Python-style iteration)",  # its fit, in a graph
        "Keras 3 (from TensorFlow 2.16 on) has no tf.layers, tf.nn.rnn_cell and v1 API. Install "
        f"Keras 2: {_EXTRA}, use a TensorFlow below 2.16, or {_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks(r"estimator(\.\S+)?"),
        "tf.estimator is not in TensorFlow from 2.16 on. Use a TensorFlow below 2.16, or "
        f"{_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks(r"examples\.\S+"),
        "tensorflow.examples is not in TensorFlow 2. Only its MNIST reader has a successor "
        f"here. For the rest, {_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks(r"\S+"),
        "This is not in the v1 API of the TensorFlow here. Look for its new place, or "
        f"{_REAL_TENSORFLOW_1}.",
    ),
    (
        r'(?s:.*File "(?P<path>[^"\n]+)", line (?P<line>\d+)[^\n]*\n[^\n]*\w*stack\()'
        r"(?s:.*)arrays to stack must be passed as a \"sequence\"",
        "NumPy no longer stacks a generator. Give it a list, np.vstack([... for ...]), in {path}, "
        "line {line}.",
    ),
    (
        r"reshape\(\) got an unexpected keyword argument 'newshape'",
        "numpy.reshape no longer takes newshape=. Give the shape without a name.",
    ),
    (
        r"SyntaxError: Missing parentheses in call to 'print'"
        r"|SyntaxError: multiple exception types must be parenthesized|TabError: "
        r"|NameError: name '(xrange|raw_input|unicode)' is not defined"
        r"|No module named '(cPickle|urllib2|StringIO|cStringIO|ConfigParser|Queue)'"
        r"|'dict' object has no attribute '(iteritems|has_key)'",
        "The script is written for Python 2. Convert it first, for example with 2to3 (which Python "
        "has up to 3.12). `jupyter nbconvert --to script` makes a script of a notebook.",
    ),
    (
        r"NameError: name '(np|numpy)' is not defined",
        "NumPy is not imported. One published listing of the article lacks the line too. Add "
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
    """Returns the advice for the traceback and message of an error, or ""."""
    report += _asked_for(report)
    for pattern, hint in _HINTS:
        match = re.search(pattern, report)
        if match:
            return hint.format(**match.groupdict())
    return ""


def _asked_for(report: str) -> str:
    """Returns a line with the full name that TensorFlow does not have, or ""."""
    attribute = re.search(r"module '([tT]ensorflow\S*)' has no attribute '(\w+)'", report)
    if attribute:
        return "\nasked for {}.{}".format(*attribute.groups())
    name = re.search(r"cannot import name '(\w+)' from '(tensorflow[.\w]*)'", report)
    if name:
        return "\nasked for {1}.{0}".format(*name.groups())
    module = re.search(r"No module named '[tT](ensorflow\.[.\w]+)'", report)
    return f"\nasked for t{module[1]}" if module else ""
