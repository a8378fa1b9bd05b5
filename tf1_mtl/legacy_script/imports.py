"""Gives a script, and the modules in its folder, the v1 API for `import tensorflow`.

Installed packages (Keras, TensorFlow itself) get the real one. So `sys.modules` is not changed.
Instead the import statement depends on the file that contains it.
"""

import builtins
import os
import sysconfig
from types import ModuleType
from typing import Any, Mapping, Optional, Sequence

from tf1_mtl.legacy_script import mnist
from tf1_mtl.legacy_script.contrib import contrib

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PYTHONS = sysconfig.get_path("stdlib") + os.sep
_python_import = builtins.__import__


def install() -> None:
    """Makes the import statement depend on its file, for the rest of this process."""
    builtins.__import__ = _import


class _V1(ModuleType):
    """Gives a script the v1 API, under the name "tensorflow", for `import tensorflow`."""

    def __getattr__(self, name: str) -> Any:
        import tensorflow

        if name in _SUCCESSORS and not _is_real(name):
            return _SUCCESSORS[name]
        try:
            return getattr(tensorflow if _is_real(name) else tensorflow.compat.v1, name)
        except AttributeError:
            raise AttributeError(f"module 'tensorflow' has no attribute {name!r}") from None


_v1 = _V1("tensorflow")
#: Modules that TensorFlow 2 lacks.
_SUCCESSORS = {"contrib": contrib, "examples": mnist.examples}


def _import(
    name: str,
    globals: Optional[Mapping[str, Any]] = None,
    locals: Optional[Mapping[str, Any]] = None,
    fromlist: Optional[Sequence[str]] = (),
    level: int = 0,
) -> Any:
    """Replaces the import statement. The arguments are those of `__import__`."""
    top, _, rest = name.partition(".")
    importer = (globals or {}).get("__file__") or ""
    if level or top not in ("tensorflow", "Tensorflow") or not _is_scripts(importer):
        return _python_import(name, globals, locals, fromlist, level)
    if not rest:
        return _v1
    # `from tensorflow.nn import dropout` imports that of the v1 API, but
    # `import tensorflow.python.ops` imports the real module.
    module = _part_of_v1(rest)
    if module is None:
        module = _python_import(f"tensorflow.{rest}", globals, locals, fromlist, level)
    return module if fromlist else _v1


def _part_of_v1(rest: str) -> Any:
    """Returns `tensorflow.<rest>` of the v1 API, or None if the real module should be imported."""
    if _is_real(rest.partition(".")[0]):
        return None
    module: Any = _v1
    parts = rest.split(".")
    for depth, part in enumerate(parts, 1):
        try:
            module = getattr(module, part)
        except AttributeError:
            if parts[0] not in _SUCCESSORS:
                return None
            name = ".".join(["tensorflow", *parts[:depth]])
            raise ModuleNotFoundError(f"No module named {name!r}", name=name) from None
    return module


def _is_real(name: str) -> bool:
    """Returns True if `tensorflow.<name>` is the real one, not that of the v1 API."""
    import tensorflow

    # In 2.0 the v1 API has a `compat` without `v1`, which `import tensorflow.compat.v1` looks up.
    return tensorflow.__version__.startswith("1.") or name == "compat"


def _is_scripts(file: str) -> bool:
    """Returns True for the script and its modules, False for installed modules."""
    path = os.path.abspath(file)
    installed = {"site-packages", "dist-packages"} & set(path.split(os.sep))
    return not installed and not path.startswith((_OURS, _PYTHONS))
