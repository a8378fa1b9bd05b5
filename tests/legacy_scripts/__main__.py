"""Records what the scripts print, on a real TensorFlow 1.15.5."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import tensorflow

from tests.legacy_scripts import DRIVER, FOLDER, SCRIPTS, write_mnist

if tensorflow.__version__ != "1.15.5":
    sys.exit(f"TensorFlow {tensorflow.__version__}, but should be 1.15.5.")
with tempfile.TemporaryDirectory() as folder:
    write_mnist(pathlib.Path(folder, "MNIST_data"))
    paths = json.dumps({name: str(path) for name, path in SCRIPTS.items()})
    command = [sys.executable, "-c", DRIVER, "[]", paths]
    ran = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        cwd=folder,
        env=dict(os.environ, PYTHONPATH=str(FOLDER.parent.parent)),
        check=True,
    )
for name, (status, printed, errors) in json.loads(ran.stdout.splitlines()[-1].decode()).items():
    if status:
        print(f"{name}: not recorded\n{errors}")
    else:
        FOLDER.joinpath(name + ".txt").write_text(printed)
