"""A book moves from SQLite to PostgreSQL and back without loss, and never over another one."""

from __future__ import annotations

import shutil
from datetime import date, datetime
from pathlib import Path

import postgres
import pytest
from places import enter
from typer.testing import CliRunner

from arbig.cli import app
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, OrderType
from arbig.domain.orders import OrderState, Stage
from arbig.lab.recorded import Record
from arbig.runtime.settings import Settings, load_settings
from arbig.runtime.supervisor import take_lock
from arbig.store.database import Database
from arbig.store.orders import OrderStore, Outgoing, Received
from arbig.store.strategies import Effects, Lots, StrategyStore

ROOT = Path(__file__).parents[2]
TEN = datetime(2025, 10, 15, 10, 0, 0, 123456, tzinfo=SHANGHAI)
DAY = date(2025, 10, 15)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """SQLite books with some rows; the configuration names an empty PostgreSQL database."""
    config = shutil.copytree(ROOT / "config", tmp_path / "config")
    enter(config, postgres.shared().new(empty=True))
    database = Database.open(tmp_path / "data" / "db" / "trading.db")
    store = OrderStore(database, "sim")
    for number in range(30):
        state = OrderState(
            request_id=f"r{number}", symbol="au2512", exchange=Exchange.SHFE, direction=Direction.LONG,
            offset=Offset.OPEN, order_type=OrderType.LIMIT, price=800.02 + number / 3, volume=1, strategy_name="策略",
            created=TEN, updated=TEN, account_id="sim", trading_day=DAY, stage=Stage.NOTTRADED,
        )  # fmt: skip
        received = Received(request_id=f"r{number}", kind="SEND_ORDER", answer="", received_at=TEN, trading_day=DAY)
        message = Outgoing(
            id=store.next_outgoing(), stream="stream:cmd", request_id=f"r{number}", payload=b"\0\xff", written_at=TEN
        )
        store.decide(received, [state], [message])
    database.close()
    strategies = StrategyStore.open(tmp_path / "data" / "db" / "strategy.db")
    strategies.commit(Effects("S", "T:1", "1-0", TEN, positions={"au2512": Lots(2, 801.3)}))
    strategies.close()
    return load_settings(root=ROOT, config=config, data=tmp_path / "data")


def arbig(settings: Settings, *words: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["db", *words, "--data", str(settings.data), "--config", str(settings.config)])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exc_info
    return found.exit_code, found.output


def test_a_book_goes_to_postgresql_and_back_row_by_row(settings: Settings, tmp_path: Path) -> None:
    code, said = arbig(settings, "import")
    assert 0 == code, said
    assert "orders                      30 rows  sha256" in said and "counts and contents equal" in said
    there = Database.open(settings.database("trading"))
    store = OrderStore(there, "sim")
    state = store.find("r7", None)
    assert state is not None and (802.02 + 1 / 3, TEN, "策略") == (state.price, state.created, state.strategy_name)
    assert 31 == store.next_outgoing()
    other = OrderState(request_id="after", symbol="au2512", exchange=Exchange.SHFE, direction=Direction.LONG,
                       offset=Offset.OPEN, order_type=OrderType.LIMIT, price=1.0, volume=1, strategy_name="S",
                       created=TEN, updated=TEN, account_id="sim", trading_day=DAY)  # fmt: skip
    store.save([other])
    code, refused = arbig(settings, "export", str(tmp_path / "out"))
    assert 1 == code and "is in use by another copy" in refused
    there.close()
    record = Record(settings)
    assert [DAY] == record.days and 31 == len(record.orders(DAY))
    record.close()
    code, said = arbig(settings, "export", str(tmp_path / "back"))
    assert 0 == code, said
    back = Database.open(tmp_path / "back" / "trading.db")
    assert 31 == OrderStore(back, "sim").counts(DAY)[0]
    back.close()
    strategies = StrategyStore.open(tmp_path / "back" / "strategy.db")
    assert {("S", "au2512"): Lots(2, 801.3)} == strategies.positions() and strategies.has_applied("T:1")
    strategies.close()


def test_a_place_with_rows_a_running_house_and_a_missing_book_are_refused(settings: Settings, tmp_path: Path) -> None:
    lock = take_lock(settings)
    assert lock is not None
    code, said = arbig(settings, "import")
    assert 1 == code and "services run here and write the books; run: arbig down" in said
    lock.close()
    code, said = arbig(settings, "import", str(tmp_path / "nowhere"))
    assert 1 == code and "trading.db: no such file; give the folder that holds it" in said
    assert 0 == arbig(settings, "import")[0]
    code, said = arbig(settings, "import")
    assert 1 == code and "is not empty (orders: 30 rows): give an empty one" in said.replace("inbox", "orders")
    assert 0 == arbig(settings, "upgrade")[0]
    (settings.config / "arbig.yaml").write_text("gateway: sim\n")
    code, said = arbig(settings, "import")
    assert 1 == code and "write e.g. database: postgresql://arbig@" in said
