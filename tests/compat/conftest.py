"""vnpy itself, for comparison. It keeps its settings where it is imported: here in a folder of the tests."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ModuleType]:
    """`real("vnpy.trader.object")`: a module of the installed vnpy."""
    home = tmp_path_factory.mktemp("vnpy")
    (home / ".vntrader").mkdir()

    def module(name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(home)
            patch.setenv("HOME", str(home))
            return importlib.import_module(name)

    return module
