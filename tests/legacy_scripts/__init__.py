"""Scripts in the style of TensorFlow 1 tutorials, with what they printed on a real 1.15.5.

    python -m tests.legacy_scripts    on TensorFlow 1.15.5: records what each script prints

Each script takes its random numbers from NumPy, so that every TensorFlow should print the same.
"""

import gzip
import pathlib
import re
import struct

import numpy as np

FOLDER = pathlib.Path(__file__).parent
SCRIPTS = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path.stem[0] != "_"}

#: Prepares TensorFlow as `tf1-mtl run` does, runs scripts one after another, and prints as JSON
#: {name: [status, stdout, stderr]}. Its arguments: without which packages, {name: path}.
DRIVER = """
import contextlib, io, json, os, sys
for package in json.loads(sys.argv[1]):
    sys.modules[package] = None
from tf1_mtl import legacy_script

legacy_script.use_keras_2()
legacy_script.prepare()
legacy_script.show_warnings()
import tensorflow.compat.v1 as tf

results = {}
for name, path in json.loads(sys.argv[2]).items():
    out, err, status = io.StringIO(), io.StringIO(), 0
    tf.reset_default_graph()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            legacy_script.run(path)
        except SystemExit as end:
            status = end.code
    results[name] = [status, out.getvalue(), err.getvalue()]
print(json.dumps(results))
"""


def write_mnist(folder, train=300, test=50):
    """Writes four files in the format of MNIST: blurred bars, one position for each class."""
    random = np.random.RandomState(7)
    folder.mkdir()
    for name, number in (("train", train), ("t10k", test)):
        labels = random.randint(10, size=number)
        images = random.randint(60, size=(number, 28, 28))
        for image, label in zip(images, labels):
            image[4 + 2 * label : 7 + 2 * label] += 180
        for kind, sizes, values in (
            ("images-idx3", (2051, number, 28, 28), images),
            ("labels-idx1", (2049, number), labels),
        ):
            header = struct.pack(f">{len(sizes)}I", *sizes)
            with gzip.open(str(folder / f"{name}-{kind}-ubyte.gz"), "wb") as stream:
                stream.write(header + values.astype(np.uint8).tobytes())


def words_and_numbers(printed):
    """Splits what a script printed into its words, and the numbers with a decimal point."""
    number = r"-?\d+\.\d*(?:e[-+]?\d+)?"
    return re.split(number, printed), [float(found) for found in re.findall(number, printed)]
