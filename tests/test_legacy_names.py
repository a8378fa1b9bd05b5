"""Scripts that use what TensorFlow 2 lacks print what they print on a real 1.15.5.

Where the extra `legacy` is not installed, only those that need none of it are run.
"""

import gzip
import importlib.util
import json
import os
import re
import subprocess
import sys

import forked
import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tests.legacy_scripts import DRIVER, FOLDER, SCRIPTS, words_and_numbers, write_mnist
from tf1_mtl.legacy_script import mnist

IS_TF1 = tf.__version__.startswith("1.")
HAS_KERAS_3 = tuple(map(int, tf.__version__.split(".")[:2])) >= (2, 16)


def _missing(script):
    """Returns the missing package that a script needs, or ""."""
    source = SCRIPTS[script].read_text()
    of_slim = not IS_TF1 and re.search(r"slim|contrib.*(layers|framework|losses|metrics)", source)
    if of_slim and not importlib.util.find_spec("tf_slim"):
        return "tf-slim"
    of_keras = HAS_KERAS_3 and re.search(r"tf\.layers|tf\.keras|rnn|batch_norm", source)
    if of_keras and not importlib.util.find_spec("tf_keras"):
        return "tf-keras"
    return "" if "estimator" not in source or hasattr(tf, "estimator") else "tf.estimator"


def _python(*args, cwd):
    """Runs `python ARGS`. Keras 2 is chosen before TensorFlow is imported, so not in a fork."""
    if not importlib.util.find_spec("tf_keras"):
        return forked.python(*args, cwd=cwd)
    environment = dict(os.environ, PYTHONPATH=str(FOLDER.parent.parent))
    command = [sys.executable, *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=str(cwd), env=environment)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Runs all scripts in one process. Returns {name: [status, stdout, stderr]}."""
    folder = tmp_path_factory.mktemp("scripts")
    write_mnist(folder / "MNIST_data")
    paths = {name: str(path) for name, path in SCRIPTS.items() if not _missing(name)}
    ran = _python("-c", DRIVER, "[]", json.dumps(paths), cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_what_it_prints_on_tensorflow_1(results, name):
    if _missing(name):
        pytest.skip(f"{_missing(name)} is not here")
    status, printed, errors = results[name]
    assert status == 0, errors
    words, numbers = words_and_numbers(printed)
    recorded_words, recorded = words_and_numbers((FOLDER / f"{name}.txt").read_text())
    assert words == recorded_words
    assert numbers == pytest.approx(recorded, rel=1e-5)


def test_missing_files_of_mnist_are_named(tmp_path):
    (tmp_path / mnist.FILES[1]).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"train-images.*missing") as error:
        mnist.read_data_sets(str(tmp_path))
    assert all(name in str(error.value) for name in mnist.FILES)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"not packed", "train-images"),
        (gzip.compress(b"\0\0\x08\x01" + bytes(12)), "magic number 2049, should be 2051"),
        (gzip.compress(b"\0\0\x08\x03" + bytes(3)), "train-images"),
        (gzip.compress(b"\0\0\x08\x03" + b"\0\0\0\1" * 3 + b"xy"), "2 bytes of data, should be 1"),
        (gzip.compress(bytes(1000))[:20], "train-images"),
    ],
    ids=["not packed", "labels", "short header", "too long", "cut off"],
)
def test_a_file_that_is_not_mnists_is_named(tmp_path, content, problem):
    write_mnist(tmp_path / "mnist", train=20, test=10)
    (tmp_path / "mnist" / mnist.FILES[0]).write_bytes(content)
    with pytest.raises(ValueError, match=problem):
        mnist.read_data_sets(str(tmp_path / "mnist"))


def test_unequal_numbers_of_images_and_labels_are_an_error():
    with pytest.raises(ValueError, match="3 images, but 2 labels"):
        mnist.DataSet(np.zeros([3, 2, 2, 1], np.uint8), np.zeros(2))
