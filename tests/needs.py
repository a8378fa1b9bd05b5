"""Marks tests of what an installation or a version of TensorFlow may lack."""

import importlib.util

import pytest
import tensorflow.compat.v1 as tf

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="the plot extra is not installed"
)
needs_scikit_learn = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None, reason="the plot extra is not installed"
)
needs_xla = pytest.mark.skipif(not hasattr(tf, "xla"), reason="this TensorFlow has no XLA API")
