"""Marks what the default run leaves out, where many cases test one thing."""

import pytest

#: Where the version of TensorFlow can make a difference, so that CI runs it on 1.15.5 too.
RUNTIME = [pytest.mark.slow, pytest.mark.runtime]


def one_in(every, cases, marks=pytest.mark.slow):
    """Returns the cases as parameters. From the first on, each n-th is fast. The others are slow.

    Cases of one kind are neighbours, so the fast ones have some of every kind.
    """
    return [
        case if number % every == 0 else pytest.param(*_values(case), marks=marks)
        for number, case in enumerate(cases)
    ]


def slow(*case):
    """Returns a case that the default run leaves out."""
    return pytest.param(*case, marks=pytest.mark.slow)


def slow_everywhere(*case):
    """Returns a case that the default run leaves out, and that CI runs on 1.15.5 too."""
    return pytest.param(*case, marks=RUNTIME)


def _values(case):
    return case if type(case) in (tuple, list) else (case,)
