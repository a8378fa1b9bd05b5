"""Packaging of tf1_mtl: two required packages, everything else an extra."""

import os
import re
from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    # Pictures, loss curves, and the digits that `tf1-mtl compare` trains on.
    "plot": ["matplotlib>=3.4", "scikit-learn"],
    # What continues tf.contrib, and Keras 2 for TensorFlow 2.16 and newer: for `tf1-mtl run`.
    "legacy": [
        "tf-keras; python_version >= '3.9'",  # in the version of TensorFlow
        "tf-slim",
    ],
    # Makes the lessons notebooks, and executes them: python -m tests.lesson_notebooks.
    "notebook": ["ipykernel", "jupytext", "nbclient"],
    # The newer ports of tests/ports, which are also the peers of tests/benchmarks.
    "ports": ["jax", "keras>=3", "optax", "tensorflow>=2.16", "torch>=2"],
}
EXTRAS["test"] = [
    "pytest>=7",
    "pytest-xdist>=3.5",
    # Runs a script of the lesson page without a browser. It has no wheels for other machines.
    "py-mini-racer; platform_machine == 'x86_64'",
    *EXTRAS["plot"],
]

#: The address of the public repository. A package index shows no relative links, so with
#: TF1_MTL_REPOSITORY=https://github.com/OWNER/NAME they become absolute.
REPOSITORY = os.environ.get("TF1_MTL_REPOSITORY", "").rstrip("/")


def long_description() -> str:
    """Return the README with absolute links, or without pictures where there is no address."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    if REPOSITORY:
        text = re.sub(r'src="(?!http)', f'src="{REPOSITORY}/raw/HEAD/', text)
        return re.sub(r"\]\((?!http|#)", f"]({REPOSITORY}/blob/HEAD/", text)
    text = re.sub(r"^<img[^>]*>\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^]]*)\]\((?!http|#)[^)]*\)", r"\1", text)


URLS = {
    "Article": "https://jg8610.github.io/Multi-Task/",
    "Notebook of the article": "https://github.com/jg8610/multi-task-part-1-notebook",
}
if REPOSITORY:
    URLS["Source"] = REPOSITORY

setup(
    name="tf1-mtl",
    version="1.0.0",
    description="The TensorFlow 1 article on multi-task learning, with the same graph and numbers",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    license="MIT",
    project_urls=URLS,
    keywords="tensorflow compat.v1 graph-mode multi-task-learning regression-testing",
    classifiers=[
        "Development Status :: 5 - Production/Stable",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Education",
        "Intended Audience :: Science/Research",
        "Natural Language :: Chinese (Simplified)",
        "Natural Language :: English",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(7, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Software Development :: Testing",
        "Typing :: Typed",
    ],
    # The page shows the lessons; in the tree they stand where a learner finds them.
    packages=[*find_packages(include=["tf1_mtl", "tf1_mtl.*"]), "tf1_mtl.lessons"],
    package_dir={"tf1_mtl.lessons": "legacy_examples"},
    package_data={
        "tf1_mtl": ["py.typed"],
        "tf1_mtl.baseline.goldens": ["*.npz"],
        "tf1_mtl.teaching.page": ["*.css", "*.html", "*.js", "*.txt"],
    },
    python_requires=">=3.7",
    install_requires=["numpy", "tensorflow>=1.13.2"],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["tf1-mtl = tf1_mtl.cli:main"]},
)
