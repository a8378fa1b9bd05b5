"""Imports TensorFlow without what it tells about this machine; each lesson imports this first.

TensorFlow 2 writes lines about GPUs and CPU instructions straight to file descriptor 2, some of
them whatever TF_CPP_MIN_LOG_LEVEL says. Errors are raised, and shown, all the same. Without this
module a lesson prints the same, and those lines.
"""

import os
import sys

if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    try:
        import tensorflow.compat.v1 as tf

        tf.logging.set_verbosity(tf.logging.ERROR)  # in a notebook it is INFO otherwise
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nothing)
