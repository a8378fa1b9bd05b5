"""The public names: type checkers see the real ones, and importing the package loads none."""

import ast
import inspect
import pathlib

import pytest

import tf1_mtl
from tf1_mtl import baseline


def checked_names(package):
    """Returns each name that a package imports for type checkers, and the module it comes from."""
    (branch,) = (
        node
        for node in ast.parse(inspect.getsource(package)).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    return {alias.name: statement.module for statement in branch.body for alias in statement.names}


@pytest.mark.parametrize("package", [tf1_mtl, baseline])
def test_type_checkers_see_what_is_loaded(package):
    names = checked_names(package)
    assert sorted(names) == sorted(package.__all__)
    assert set(names) <= set(dir(package))
    for name, module in names.items():
        value = getattr(package, name)
        here = value.__name__ if inspect.ismodule(value) else value.__module__
        assert here == (f"{module}.{name}" if inspect.ismodule(value) else module)
    assert not hasattr(package, "nothing")


def test_of_the_package_checking_alone_imports_the_diagnosis():
    package = pathlib.Path(tf1_mtl.__file__).parent
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "baseline.diagnosis" in path.read_text(encoding="utf-8")
    }
    assert {user for user in users if "diagnosis/" not in user} == {"baseline/checking.py"}
