"""Errors that a user can correct.

    ValueError
    └── InputError        a bad argument, file, array or device
        └── MissingExtra  a package of an extra (plot, test, ...) is not installed

The command line prints any of them in one line and exits with status 2.
"""

import difflib
import importlib
import re
from types import ModuleType
from typing import Iterable, Sequence


class InputError(ValueError):
    """Bad input: the message says where, what it is, what it should be and what to do next."""


class MissingExtra(InputError):
    """A package that only an extra needs is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Imports a package that only an extra brings.

    Args:
      module: The module's import name, such as "matplotlib".
      extra: The extra of this distribution that installs it.

    Raises:
      MissingExtra: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module}: not installed ({error}). Install it with: pip install 'tf1-mtl[{extra}]'"
        ) from error


def reason_of(error: BaseException) -> str:
    """Returns what an error of TensorFlow gives as reason, such as "No space left on device"."""
    text = str(getattr(error, "message", error)).strip()
    reason = re.search(r"^\S.*; (\w[\w ]+)$", text, re.MULTILINE)
    if reason:
        return reason.group(1)
    return text.splitlines()[0] if text else type(error).__name__


def printable(text: str) -> str:
    """Returns a text in one line, with escapes for what a terminal would obey or cannot show.

    Names of files and arrays come from outside and may hold anything.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def did_you_mean(words: Sequence[str], known: Iterable[str]) -> str:
    """Returns a question that names what is nearest to the words, or ""."""
    names = list(known)
    near = [name for word in words for name in difflib.get_close_matches(word, names)]
    return f" Did you mean {' or '.join(near)}?" if near else ""
