"""Records the goldens on a real TensorFlow 1.x, and compares them with the stored ones.

    nox -f .ci/noxfile.py -s "witness(1.15.5)" -- -m tests.oracle             compares
    nox -f .ci/noxfile.py -s "witness(1.15.5)" -- -m tests.oracle --write     stores

nox builds the old runtime from `requirements-1.15.5.txt` beside this file. With an old runtime at
hand, run `python -m tests.oracle` with its Python in the directory of the project. Without --write
nothing is written, and a difference fails. The published listing is trained with
`import tensorflow as tf`. Of tf1_mtl only the file format is used.

    1.15.5, the reference       tf1_mtl/baseline/goldens/*.npz      every case: graph, variables
                                tests/truth/graph-1.15.5.pbtxt      the graph of the joint listing
                                tests/truth/checkpoint-1.15.5/      a Saver checkpoint, its values
    0.12.1, 1.0.1, 1.10.0,      tests/truth/goldens-<version>.npz   every case, losses and last
    the witnesses                                                   weights
                                tests/truth/recording-<version>.npz one case: graph, variables
    all four                    tests/truth/sessions-<version>.npz  200 alternate and 200 joint
                                                                    steps of two more seeds

On the machine that recorded, every bit must be the same. Another CPU sums in another order. There
the tolerances of `tolerance.py` apply, derived value by value.

    cases.py      what is trained on what, and what it exposes
    listing.py    the article on a real TensorFlow 1.x
    published.py  the sessions, graph and checkpoint of the article
    goldens.py    a case and what was recorded of it, as a recording
"""
