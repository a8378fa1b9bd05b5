"""Marks what the default run leaves out, where many cases test one thing."""

import pytest


def one_in(every, cases):
    """Return the cases as parameters. From the first on, each n-th is fast. The others are slow.

    Cases of one kind are neighbours, so the fast ones have some of every kind.
    """
    return [
        case if number % every == 0 else pytest.param(*_values(case), marks=pytest.mark.slow)
        for number, case in enumerate(cases)
    ]


def slow(*case):
    """Return a case that the default run leaves out."""
    return pytest.param(*case, marks=pytest.mark.slow)


def _values(case):
    return case if type(case) in (tuple, list) else (case,)
