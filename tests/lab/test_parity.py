"""A clean session in lockstep and its replay are one and the same: every order, every fill, every cent."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from lockstep import QUICK, at, lockstep, lockstep_settings

from arbig import Desk
from arbig.lab.parity import Parity, ParityError
from arbig.runtime.settings import Settings, load_settings
from arbig.store.tables import HEAD

ARBIG = Path(sys.executable).with_name("arbig")
AFTER_SETTLEMENT = at("20:55:00")
EXITS = {
    "breakout": {"entry_window": 5, "atr_window": 5, "trail_atr": 1.0, "volume": 2},
    "mean_reversion": {"bar_minutes": 1, "boll_window": 8, "boll_dev": 1.0, "volume": 2},
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two hours of MaRsiStrategy, to the settlement; its ticks are recorded."""
    settings = lockstep_settings(tmp_path_factory.mktemp("session"))
    ticks = settings.data / "ticks" / "au2512" / "2025-10-15.parquet"

    async def play() -> None:
        async with lockstep(settings, at("11:00:00")) as house:
            await house.play_until(AFTER_SETTLEMENT)
            while not ticks.exists():  # noqa: ASYNC110 - written by a process of its own
                await asyncio.sleep(0.05)

    asyncio.run(play())
    return settings


def _parity(settings: Settings, **options: object) -> Parity:
    return Desk(root=settings.root, data=settings.data).parity(**options)


def _copy(settings: Settings, home: Path) -> Settings:
    shutil.copytree(settings.root, home, dirs_exist_ok=True)
    return load_settings(root=home, config=home / "config", data=home / "data", port_offset=0)


def test_two_hours_in_lockstep_are_zero_order_by_order(session: Settings) -> None:
    found = _parity(session)
    assert found.ok, found
    assert found.total == 0 and not any(found.buckets.values())
    assert found.outcome.on_ticks and not found.warnings and not found.outcome.missed
    table = found.orders
    assert len(table) >= 12 and (table["words"] == "the same").all()
    assert (table["live_sent"] == table["replay_sent"]).all() and (table["difference"] == 0).all()
    fills = [[(fill.moment, fill.price, fill.volume) for fill in order.fills] for order in _live(found)]
    assert fills == [[(fill.moment, fill.price, fill.volume) for fill in order.fills] for order in _replayed(found)]
    assert max(map(len, fills)) > 1, "partial fills occurred"


def test_the_replays_own_books_agree_with_the_sum_of_its_fills(session: Settings) -> None:
    """Profit as the engine's ledger settles it, and as parity adds it up."""
    found = _parity(session)
    day = found.results["MaRsiStrategy"].days[-1]
    assert found.replay == pytest.approx(day.net_pnl, abs=0.005)
    assert sum(found.orders["replay_fee"]) == pytest.approx(day.commission, abs=0.005)


def test_stop_orders_and_targets_answered_on_ticks_are_zero_too(tmp_path: Path) -> None:
    """Two strategies at once; the day is not settled, so the ticks come from Market's journal."""
    settings = lockstep_settings(tmp_path, **EXITS)

    async def play() -> None:
        async with lockstep(settings, at("13:40:00")) as house:
            await house.play_until(at("13:58:00"))

    asyncio.run(play())
    found = _parity(settings)
    assert found.ok, found
    assert {"BreakoutStrategy", "MeanReversionStrategy"} == set(found.orders["strategy"])
    assert {cause.split()[0] for cause in found.orders["cause"]} == {"stop", "bar", "tick"}


def test_what_the_risk_block_closes_and_refuses_is_the_same_too(tmp_path: Path) -> None:
    """A stop loss so near that it strikes again and again, and fewer lots than the strategy asks for."""
    mean = {"bar_minutes": 1, "boll_window": 8, "boll_dev": 1.0, "volume": 2}
    risk = {"stop_loss_pct": 0.03, "take_profit_pct": 0.08, "max_position": 2}
    settings = lockstep_settings(tmp_path, risk, mean_reversion=mean, ma_rsi={**QUICK, "volume": 3})

    async def play() -> None:
        async with lockstep(settings, at("13:40:00")) as house:
            await house.play_until(at("13:56:00"))

    asyncio.run(play())
    found = _parity(settings)
    assert found.ok, found
    assert set(found.orders["strategy"]) == {"MeanReversionStrategy"}, "three lots are refused, two are not"
    logs = [log.message for log in found.results["MeanReversionStrategy"].logs]
    assert any("stop loss" in line for line in logs) and any("take profit" in line for line in logs)


def test_without_ticks_the_bars_are_compared_and_the_model_of_fills_is_price(session: Settings, tmp_path: Path) -> None:
    """Bars know no spread and no queue: what that costs is told apart from signals, of which every one is the same."""
    settings = _copy(session, tmp_path)
    shutil.rmtree(settings.data / "ticks")
    found = _parity(settings)
    assert not found.outcome.on_ticks
    assert found.orders["live_sent"].notna().all() and found.orders["replay_sent"].notna().all()
    assert not any(found.buckets[name] for name in ("signal", "timing", "residual"))
    assert round(sum(found.buckets.values()), 2) == found.total


def test_the_page_is_one_file_and_the_command_says_the_same(session: Settings, tmp_path: Path) -> None:
    html = tmp_path / "parity.html"
    said = _arbig(session, "--html", str(html))
    assert said.returncode == 0 and "agree in every order and fill" in said.stdout
    page = html.read_text("utf-8")
    assert "Missed data" in page and '<script src="http' not in page and 'rel="stylesheet"' not in page
    plain = json.loads(_arbig(session, "--json", "--date", "2025-10-15").stdout)
    assert plain["ok"] and plain["total"] == 0 and set(plain["buckets"].values()) == {0}
    assert "agree in every order" in _parity(session)._repr_html_()


def _arbig(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ARBIG_ROOT": str(settings.root), "ARBIG_DATA": str(settings.data)}
    return subprocess.run([ARBIG, "parity", *words], env=environment, capture_output=True, text=True, timeout=120)


def _live(found: Parity) -> list:
    return [row.pair.live for _, row in found.outcome.rows]


def _replayed(found: Parity) -> list:
    return [row.pair.replay for _, row in found.outcome.rows]


# ---- what cannot be compared is said in one line


def test_a_day_without_a_session_names_the_days_there_are(session: Settings) -> None:
    with pytest.raises(ParityError, match="no session was recorded on 2025-10-14; there are 2025-10-15"):
        _parity(session, day="2025-10-14")
    said = _arbig(session, "--date", "2025-10-14")
    assert said.returncode == 1 and len(said.stderr.strip().splitlines()) == 1


def test_bad_words_are_one_line(session: Settings) -> None:
    with pytest.raises(ParityError, match=r"found 'MaRsi', no such name in config/strategies\. Did you mean: MaRsiStr"):
        _parity(session, strategy="MaRsi")
    with pytest.raises(ParityError, match=r"date: found '15/10', expected a trading day, e\.g\. '2025-10-15'"):
        _parity(session, day="15/10")
    with pytest.raises(ParityError, match="since: found 'noon', expected a moment"):
        _parity(session, since="noon")


def test_no_house_or_one_that_never_traded_is_one_line(session: Settings, tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="no live session was recorded here; run: arbig up"):
        Desk(root=session.root, data=tmp_path).parity()


def test_a_database_of_another_schema_is_one_line(session: Settings, tmp_path: Path) -> None:
    settings = _copy(session, tmp_path)
    with sqlite3.connect(settings.data / "db" / "trading.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(ParityError, match=f"found schema 0001, expected {HEAD}; start the house once with this build"):
        _parity(settings)


def test_code_that_has_changed_is_a_warning_and_the_replay_goes_on(session: Settings, tmp_path: Path) -> None:
    settings = _copy(session, tmp_path)
    source = settings.root / "strategies" / "ma_rsi.py"
    source.write_text(source.read_text("utf-8") + "\n# another line\n", "utf-8")
    found = _parity(settings)
    assert found.warnings == (
        "MaRsiStrategy: its code has changed since 2025-10-15: the replay runs the code of today",
    )
    assert not any(found.buckets.values())
