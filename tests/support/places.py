"""Where a test's book lies: a file, or a real PostgreSQL server when the tests run for it.

`ARBIG_TEST_DATABASE=postgresql` runs whole suites for it; tests marked `postgresql` run for both all the time, those
marked `sqlite` are about a file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import postgres
import pytest
import yaml
from sqlalchemy import Connection

from arbig.runtime.settings import Settings, load_settings
from arbig.store.database import connected
from arbig.store.place import Place

SQLITE, POSTGRESQL = "sqlite", "postgresql"
KIND = os.environ.get("ARBIG_TEST_DATABASE", SQLITE)
_known: dict[Path, Place] = {}


def kinds(metafunc: pytest.Metafunc) -> list[str]:
    """On which databases a test runs."""
    if metafunc.definition.get_closest_marker("sqlite") is not None:
        return [SQLITE]
    mark = metafunc.definition.get_closest_marker("postgresql")
    if KIND == POSTGRESQL or (mark is not None and mark.kwargs.get("alone")):
        return [POSTGRESQL]
    return [SQLITE, POSTGRESQL] if mark is not None else [SQLITE]


def place(path: Path, kind: str = KIND) -> Place:
    """The file itself, or what stands for it: the same path is the same book."""
    if kind == SQLITE:
        return path
    if path not in _known:
        _known[path] = postgres.address(postgres.shared().new(), path.stem)
    return _known[path]


def settings_on(kind: str, folder: Path, root: Path, port_offset: int = 0, url: str | None = None) -> Settings:
    """A house under `folder` whose books lie there."""
    config = root / "config"
    if kind == POSTGRESQL:
        config = shutil.copytree(config, folder / "config")
        enter(config, url or postgres.shared().new())
    return load_settings(root=root, config=config, data=folder / "data", port_offset=port_offset)


def enter(config: Path, url: str) -> None:
    """Write the one URL, and the file of its password."""
    word = config / "database_password"
    word.touch(mode=0o600)
    word.write_text(postgres.PASSWORD)
    house = yaml.safe_load((config / "arbig.yaml").read_text("utf-8"))
    house |= {"database": url, "database_password_file": str(word)}
    (config / "arbig.yaml").write_text(yaml.safe_dump(house, allow_unicode=True), "utf-8")


@contextmanager
def doctored(place: Place) -> Iterator[Connection]:
    """The tables behind a house's back, while nobody writes them."""
    database = connected(place)
    try:
        with database.transaction() as connection:
            yield connection
    finally:
        database.close()


def lose(place: Place) -> None:
    """As if it had never been."""
    if isinstance(place, Path):
        for file in place.parent.glob(f"{place.name}*"):
            file.unlink()
        return
    with doctored(place) as connection:
        connection.exec_driver_sql(f'DROP SCHEMA "{place.schema}" CASCADE')
