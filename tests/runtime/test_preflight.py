"""Preflight: what would go wrong is said before anything starts."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from arbig.runtime.doctor import data_folder
from arbig.runtime.preflight import check_data_folder
from arbig.runtime.settings import SettingsError


def test_a_full_disk_is_refused_with_what_is_left_and_what_is_needed(home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=12_345_678))
    expected = (
        f"{home.settings.data}: the disk is full: 12 MB left, 200 MB are needed; "
        "make room there, or give another folder: --data DIR"
    )
    with pytest.raises(SettingsError) as refused:
        check_data_folder(home.settings)
    assert str(refused.value) == expected
    assert [str(finding) for finding in data_folder(home.settings)] == [f"fail data folder: {expected}"]


def test_a_disk_that_is_nearly_full_is_a_warning_of_the_doctor(home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_500_000_000))
    assert [str(finding) for finding in data_folder(home.settings)] == [
        f"warn data folder: {home.settings.data}: 1.5 GB free; mend: make room, or give another folder: --data DIR"
    ]
