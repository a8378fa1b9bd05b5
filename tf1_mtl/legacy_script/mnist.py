"""Reads MNIST as `tensorflow.examples.tutorials.mnist.input_data` of TensorFlow 1.15 does.

The arrays, their order and their use of the global stream of NumPy are the same. The reader
downloads nothing.
"""

import gzip
import os
import struct
import sys
import zlib
from types import ModuleType
from typing import Any, List, NamedTuple, Optional, Tuple

import numpy as np

#: The files of the training images and labels, then of the test images and labels.
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_IMAGES, _LABELS = 2051, 2049  # the first number of the two kinds of files


class DataSet:
    """Holds images and labels, and returns them in batches.

    Args:
      images: uint8, [number, rows, columns, 1].
      labels: One row for each image.
      fake_data: True returns constant images and labels, and reads neither array.
      one_hot: The form of fake labels.
      dtype: With float32 the images are divided by 255, with uint8 they are not changed.
      reshape: True makes each image one row.
      seed: Seed of the shuffling. None uses the seed of the default graph, or a random one.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        fake_data: bool = False,
        one_hot: bool = False,
        dtype: Any = "float32",
        reshape: bool = True,
        seed: Optional[int] = None,
    ) -> None:
        import tensorflow.compat.v1 as tf

        of_graph, of_operation = tf.get_seed(seed)
        np.random.seed(of_graph if seed is None else of_operation)
        dtype = tf.as_dtype(dtype).base_dtype
        if dtype not in (tf.uint8, tf.float32):
            raise TypeError(f"Invalid image dtype {dtype!r}, expected uint8 or float32")
        self.one_hot = one_hot
        self.num_examples = 10000 if fake_data else len(images)
        if not fake_data:
            if len(images) != len(labels):
                raise ValueError(f"{len(images)} images, but {len(labels)} labels.")
            if reshape:
                images = images.reshape(len(images), images.shape[1] * images.shape[2])
            if dtype == tf.float32:
                images = np.multiply(images.astype(np.float32), 1.0 / 255.0)
        self.images, self.labels = images, labels
        self.epochs_completed = 0
        self._position = 0

    def next_batch(
        self, batch_size: int, fake_data: bool = False, shuffle: bool = True
    ) -> Tuple[Any, Any]:
        """Returns the next images and labels, and shuffles them at the start of each epoch."""
        if fake_data:
            label = [1] + [0] * 9 if self.one_hot else 0
            return [[1] * 784] * batch_size, [label] * batch_size
        start = self._position
        if shuffle and start == 0 and self.epochs_completed == 0:
            self._shuffle()
        end = self._position = start + batch_size
        if end <= self.num_examples:
            return self.images[start:end], self.labels[start:end]
        self.epochs_completed += 1
        images, labels = self.images[start:], self.labels[start:]
        if shuffle:
            self._shuffle()
        end = self._position = end - self.num_examples
        return (
            np.concatenate([images, self.images[:end]]),
            np.concatenate([labels, self.labels[:end]]),
        )

    def _shuffle(self) -> None:
        order = np.arange(self.num_examples)
        np.random.shuffle(order)
        self.images, self.labels = self.images[order], self.labels[order]


class Datasets(NamedTuple):
    """Holds the three sets of images."""

    train: DataSet
    validation: DataSet
    test: DataSet


def read_data_sets(
    train_dir: str,
    fake_data: bool = False,
    one_hot: bool = False,
    dtype: Any = "float32",
    reshape: bool = True,
    validation_size: int = 5000,
    seed: Optional[int] = None,
    source_url: str = "",
) -> Datasets:
    """Reads the four files of MNIST from a folder.

    Args:
      train_dir: The folder.
      fake_data: True reads no file, and the sets return constants.
      one_hot: True returns labels as rows of ten, False as class numbers.
      dtype, reshape, seed: See `DataSet`.
      validation_size: The number of training images, from the first on, that become the
        validation set.
      source_url: Not used, since nothing is downloaded.

    Raises:
      FileNotFoundError: One of the four files is missing.
      ValueError: A file is not one of MNIST, or `validation_size` is too large.
    """
    if fake_data:
        return Datasets(*(DataSet([], [], True, one_hot, dtype, seed=seed) for _ in range(3)))
    paths = [os.path.join(train_dir, name) for name in FILES]
    missing = [name for name, path in zip(FILES, paths) if not os.path.exists(path)]
    if missing:
        raise FileNotFoundError(
            f"{train_dir}: {', '.join(missing)} missing. Nothing is downloaded here: put the four "
            f"files of MNIST into this folder ({', '.join(FILES)})."
        )
    images, labels, test_images, test_labels = (
        extract_labels(path, one_hot) if "labels" in path else extract_images(path)
        for path in paths
    )
    if not 0 <= validation_size <= len(images):
        raise ValueError(
            f"Validation size should be between 0 and {len(images)}. Received: {validation_size}."
        )
    options = {"dtype": dtype, "reshape": reshape, "seed": seed}
    return Datasets(
        train=DataSet(images[validation_size:], labels[validation_size:], **options),
        validation=DataSet(images[:validation_size], labels[:validation_size], **options),
        test=DataSet(test_images, test_labels, **options),
    )


def load_mnist(train_dir: str = "MNIST-data") -> Datasets:
    """Reads the four files of MNIST from a folder."""
    return read_data_sets(train_dir)


def extract_images(file: Any) -> np.ndarray:
    """Returns the images of a path or open file: uint8, [number, rows, columns, 1]."""
    (number, rows, columns), data = _read(file, _IMAGES, 3)
    return data.reshape(number, rows, columns, 1)


def extract_labels(file: Any, one_hot: bool = False, num_classes: int = 10) -> np.ndarray:
    """Returns the labels of a path or open file: uint8, or float64 rows of ten."""
    _, labels = _read(file, _LABELS, 1)
    return dense_to_one_hot(labels, num_classes) if one_hot else labels


def dense_to_one_hot(labels_dense: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns a row for each class number, with a one at its place."""
    return np.eye(num_classes)[labels_dense.ravel()]


def _read(file: Any, kind: int, axes: int) -> Tuple[List[int], np.ndarray]:
    """Returns the sizes and the values of a file of MNIST."""
    path = getattr(file, "name", file)
    print("Extracting", path)
    header = 4 + 4 * axes
    try:
        with gzip.open(file, "rb") as stream:
            content = stream.read()
        found, *sizes = struct.unpack(f">{1 + axes}I", content[:header])
        if found != kind:
            raise ValueError(f"Invalid magic number {found}, should be {kind}")
        data = np.frombuffer(content, np.uint8)[header:]
        if len(data) != np.prod(sizes):
            raise ValueError(f"{len(data)} bytes of data, should be {np.prod(sizes)}")
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"{path}: {error}. Get this file of MNIST again.") from None
    return sizes, data


def load_dataset(name: str) -> Datasets:
    """Reads MNIST, the only one of `tf.contrib.learn.datasets` that has a successor here."""
    if name != "mnist":
        raise ValueError(f"Name of dataset is not found: {name}. Only 'mnist' is here.")
    return load_mnist()


def _module(name: str, **names: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


_here = sys.modules[__name__]
#: What a script gets for `tf.contrib.learn.datasets`.
datasets = _module("tensorflow.contrib.learn.datasets", mnist=_here, load_dataset=load_dataset)
#: What a script gets for `tensorflow.examples`.
examples = _module(
    "tensorflow.examples",
    tutorials=_module(
        "tensorflow.examples.tutorials",
        mnist=_module("tensorflow.examples.tutorials.mnist", input_data=_here),
    ),
)
