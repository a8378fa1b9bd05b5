"""`python -m tests.training_scripts DIR SCRIPT ...`: records scripts in one process.

For each script it writes DIR/NAME.npz and, what the script printed, DIR/NAME.txt. It runs on any
TensorFlow that the project supports, so that the recordings in `tests/truth` come from it too.
"""

import contextlib
import os
import sys

from tf1_mtl import legacy_script
from tf1_mtl.baseline import recording

HERE = os.path.dirname(os.path.abspath(__file__))


def main(directory, *names):
    legacy_script.prepare()
    import tensorflow.compat.v1 as tf

    for name in names:
        script, path = name + ".py", os.path.join(directory, name)
        tf.reset_default_graph()
        with open(path + ".txt", "w") as printed, contextlib.redirect_stdout(printed), recording(
            path + ".npz", script=script
        ):
            legacy_script.run(os.path.join(HERE, script))


if __name__ == "__main__":
    main(*sys.argv[1:])
