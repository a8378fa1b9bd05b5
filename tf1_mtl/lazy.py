"""Loads the public names of a package on first use, so that importing it imports nothing else."""

import importlib
import sys
from typing import Any, Callable, Dict, List, Tuple


def load_on_first_use(
    package: str, home: Dict[str, str]
) -> Tuple[Callable[[str], Any], Callable[[], List[str]]]:
    """Returns the `__getattr__` and the `__dir__` of a package.

    Type checkers do not look here: they see what the package imports under `TYPE_CHECKING`.

    Args:
      package: Its `__name__`.
      home: The module of each public name; a name without a module is a module of the package.
    """

    def getattr_(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if not home[name]:
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(f"{package}.{home[name]}"), name)

    def dir_() -> List[str]:
        return sorted({*vars(sys.modules[package]), *home})

    return getattr_, dir_
