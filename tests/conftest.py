"""Options of this test suite."""


def pytest_addoption(parser):
    parser.addoption(
        "--real-tf1",
        metavar="PYTHON",
        help="a Python with TensorFlow 1.15.5 (or another 1.x), for the tests that run it",
    )
