"""Market: ticks in; bars, cache, files and answers out."""

from __future__ import annotations

import asyncio
import logging
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from arbig.bus.port import BusError
from arbig.domain.messages import EventType, encode
from arbig.runtime.settings import SettingsError


def csv(house: Any, symbol: str = "au2512", day: str = "2025-10-15") -> list[str]:
    path = house.settings.data / "bars" / symbol / f"{day}.csv"
    return path.read_text().splitlines() if path.exists() else []


def journals(house: Any) -> list[str]:
    return sorted(path.name for path in (house.settings.data / "market").iterdir())


def test_ticks_become_published_and_stored_bars(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        await house.play(
            kit.at("14 20:58:00"),
            kit.tick("14 20:59:00.500", 900.0, 150, seq=1),
            kit.tick("14 21:00:30", 901.0, 160, seq=2),
            kit.tick("14 21:01:10", 902.0, 170, seq=3),
            kit.at("14 21:02:03"),
        )
        assert kit.shown(house.bars) == ["au2512 14 21:00 v=160 n=1", "au2512 14 21:01 v=10 n=2"]
        assert [line.split(",")[0] for line in csv(house)] == ["datetime", "2025-10-14T21:00:00", "2025-10-14T21:01:00"]
        status = house.market.status()
        assert (status["ticks"], status["bars"], status["connected"]) == (3, 2, True)

    flow(story)


def test_a_specification_tick_without_optional_keys_is_enough(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        bare = kit.tick("14 21:00:10", 900.0, 10, trading_day=None, turnover=None)
        await house.play(kit.at("14 20:58:00"), bare, kit.at("14 21:01:03"))
        assert kit.shown(house.bars) == ["au2512 14 21:00 v=10 n=1"]
        assert house.bars[0].trading_day == kit.today

    flow(story)


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{", b"null", b"[1,2]", b'{"symbol":"au2512"}', b"\xff\xfe", b'{"symbol":"au2512","volume":"many"}'],
)
def test_garbage_on_a_tick_channel_is_counted_and_harms_no_bar(
    house: Any, flow: Any, kit: Any, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    async def story() -> None:
        with caplog.at_level(logging.WARNING):
            await house.play(kit.at("14 20:58:00"), kit.tick("14 21:00:10", 900.0, 10), garbage, garbage, garbage)
            await house.play(kit.tick("14 21:00:50", 900.0, 12), kit.tick("14 21:01:00", 900.0, 12))
        assert kit.shown(house.bars) == ["au2512 14 21:00 v=12 n=1"]
        assert house.market.status()["messages_unusable"] == 3
        lines = [record.getMessage() for record in caplog.records if "tick channels" in record.getMessage()]
        assert len(lines) == 1 and "\n" not in lines[0] and "tick:au2512" in lines[0]

    flow(story)


def test_a_tick_on_another_symbols_channel_is_garbage(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        await house.play(encode(kit.tick("14 21:00:10", 900.0, 10, symbol="ag2512")))
        assert house.market.status()["messages_unusable"] == 1

    flow(story)


def test_ticks_nobody_can_place_are_refused_and_counted(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        await house.play(
            kit.tick("14 21:00:10", 900.0, 10, symbol="xx2512"),
            kit.tick("14 21:00:10", 900.0, 10, trading_day=date(2025, 10, 18)),
            kit.tick(datetime.fromisoformat("2031-10-14T21:00:10+08:00"), 900.0, 10, trading_day=None),
            kit.tick("14 21:00:20", 900.0, 12),
            kit.at("14 21:01:03"),
        )
        assert kit.shown(house.bars) == ["au2512 14 21:00 v=12 n=1"]
        assert house.market.status()["ticks_refused"] == 3

    flow(story)


def test_no_bars_while_disconnected(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        await house.play(
            kit.at("14 20:58:00"),
            kit.tick("14 21:00:10", 900.0, 10),
            kit.event(EventType.DISCONNECTED),
            kit.at("14 21:05:00"),
        )
        assert house.bars == []
        assert house.market.status()["connected"] is False
        await house.play(
            kit.event(EventType.CONNECTED),
            kit.tick("14 21:06:10", 900.0, 40),
            kit.tick("14 21:07:10", 900.0, 50),
            kit.at("14 21:08:10"),
        )
        assert kit.shown(house.bars) == [
            "au2512 14 21:00 v=10 n=1 partial",
            "au2512 14 21:06 v=30 n=2 partial",
            "au2512 14 21:07 v=10 n=3",
        ]

    flow(story)


def test_the_heartbeat_says_that_the_connection_is_down_too(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        await house.beat(kit.at("14 21:00:00"), connected=False)
        assert house.market.status()["connected"] is False
        await house.beat(kit.at("14 21:00:01"), connected=True)
        assert house.market.status()["connected"] is True

    flow(story)


def test_a_gateway_that_came_back_marks_the_bar_it_may_have_missed_ticks_of(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        await house.beat(kit.at("14 20:58:00"), pid=7)
        await house.play(kit.tick("14 21:00:10", 900.0, 10))
        await house.beat(kit.at("14 21:00:30"), pid=8)
        await house.play(kit.tick("14 21:00:40", 900.0, 12), kit.tick("14 21:01:40", 900.0, 13))
        assert kit.shown(house.bars) == ["au2512 14 21:00 v=12 n=1 partial"]

    flow(story)


@pytest.mark.parametrize("with_seq", [True, False])
def test_a_restart_in_the_middle_of_a_minute_gives_the_same_bars(
    house: Any, flow: Any, kit: Any, with_seq: bool
) -> None:
    def numbered(n: int) -> dict[str, int]:
        return {"seq": n} if with_seq else {}

    async def story() -> None:
        await house.play(
            kit.at("14 20:58:00"),
            kit.tick("14 21:00:10", 900.0, 10, **numbered(1)),
            kit.tick("14 21:01:10", 901.0, 13, **numbered(2)),
        )
        await house.dies()
        await house.market.start()
        await house.play(
            kit.at("14 21:01:20"), kit.tick("14 21:01:30", 899.0, 18, **numbered(3)), kit.at("14 21:02:03")
        )
        mark = "" if with_seq else " partial"
        assert kit.shown(house.bars) == ["au2512 14 21:00 v=10 n=1", f"au2512 14 21:01 v=8 n=2{mark}"]
        assert (house.bars[1].open_price, house.bars[1].low_price) == (901.0, 899.0)
        assert len(csv(house)) == 3

    flow(story)


def test_a_crash_between_journal_and_file_loses_no_bar_and_doubles_none(
    house: Any, flow: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever of the two steps after the journal did not happen is made good at the next start."""

    async def story() -> None:
        await house.play(kit.at("14 20:58:00"), kit.tick("14 21:00:10", 900.0, 10, seq=1))
        store = house.market._store
        monkeypatch.setattr(house.market, "_store_bars", lambda bars: None)
        await house.play(kit.tick("14 21:01:10", 900.0, 12, seq=2))
        store.close()
        await house.dies()
        assert csv(house) == []
        await house.market.start()
        await house.dies()
        await house.market.start()
        await house.play(kit.tick("14 21:02:10", 900.0, 14, seq=3))
        assert [line.rsplit(",", 2)[1] for line in csv(house)[1:]] == ["1", "2"]
        assert kit.shown(house.bars) == [
            "au2512 14 21:00 v=10 n=1",
            "au2512 14 21:00 v=10 n=1",
            "au2512 14 21:01 v=2 n=2",
        ]

    flow(story)


def test_the_days_ticks_are_dropped_at_settlement(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        await house.play(kit.at("15 14:58:00"), kit.tick("15 14:59:10", 900.0, 10), kit.event(EventType.SETTLED))
        assert journals(house) == ["2025-10-15.jsonl"]  # a bar still runs
        await house.play(kit.at("15 15:00:06"), kit.event(EventType.SETTLED))
        assert journals(house) == []
        await house.play(kit.tick("15 21:00:10", 900.0, 5, trading_day=date(2025, 10, 16)), kit.at("15 21:01:03"))
        assert journals(house) == ["2025-10-16.jsonl"]
        assert kit.shown(house.bars)[-1] == "au2512 15 21:00 v=5 n=1"

    flow(story)


def test_a_new_trading_day_finishes_the_old_ones_bars_and_drops_its_ticks(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        next_day = date(2025, 10, 16)
        await house.play(
            kit.at("15 14:58:00"),
            kit.tick("15 14:59:10", 900.0, 10),
            kit.tick("15 14:59:20", 50.0, 7, symbol="ag2512"),
            kit.tick("15 21:00:10", 900.0, 5, trading_day=next_day),
        )
        assert sorted(kit.shown(house.bars)) == [
            "ag2512 15 14:59 v=0 n=1 partial",
            "au2512 15 14:59 v=0 n=1 partial",
        ]
        assert journals(house) == ["2025-10-16.jsonl"]
        await house.play(kit.tick("15 21:01:10", 900.0, 6, trading_day=next_day))
        assert kit.shown(house.bars)[-1] == "au2512 15 21:00 v=5 n=1"

    flow(story)


def test_the_same_ticks_give_the_same_bytes_whenever_the_timer_beats(new_house: Any, kit: Any) -> None:
    ticks = [kit.tick("14 21:00:00.500", 900.0, 1, seq=1)]
    for n in range(1, 60):
        ticks.append(kit.tick(f"14 21:{n // 6:02d}:{n % 6 * 10 + 5:02d}", 900.0 + n % 7 * 0.02, 1 + n, seq=n + 1))

    async def run(house: Any, beats_after: int) -> list[str]:
        await house.start()
        await house.play(kit.at("14 20:58:00"))
        for found in ticks:
            await house.play(found, *(found.datetime + timedelta(seconds=n) for n in range(1, beats_after)))
        await house.play(kit.at("14 21:30:00"))
        await house.stop()
        return csv(house)

    quiet, beaten = (asyncio.run(run(new_house(name), beats)) for name, beats in (("a", 0), ("b", 9)))
    assert quiet == beaten
    assert len(quiet) == 11


def test_history_of_earlier_days_is_fetched_once(house: Any, gateway: Any, flow: Any, kit: Any) -> None:
    gateway.bars = [*kit.history(date(2025, 10, 13)), *kit.history(date(2025, 10, 14)), *kit.history(kit.today)]

    async def story() -> None:
        assert gateway.asked == [
            {"symbol": "au2512", "start": "2025-09-22T20:55:00", "end": "2025-10-14T15:00:00"},
        ]
        assert [len(csv(house, day=day)) for day in ("2025-10-13", "2025-10-14", "2025-10-15")] == [4, 4, 0]
        await house.dies()
        gateway.bars = []
        await house.market.start()
        assert len(csv(house, day="2025-10-14")) == 4

    flow(story)


def test_a_symbol_first_seen_gets_its_history_too(house: Any, gateway: Any, flow: Any, kit: Any) -> None:
    gateway.bars = kit.history(date(2025, 10, 14), symbol="ag2512")

    async def story() -> None:
        await house.play(kit.tick("14 21:00:10", 50.0, 7, symbol="ag2512"))
        assert len(csv(house, "ag2512", "2025-10-14")) == 4

    flow(story)


def test_the_cache_answers_with_the_last_tick(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        assert (await house.get("/ticks/au2512")).json() == {"symbol": "au2512", "tick": None}
        await house.play(kit.tick("14 21:00:10", 900.0, 10), kit.tick("14 21:00:05", 899.0, 9))
        answer = (await house.get("/ticks/au2512.SHFE")).json()
        assert (answer["symbol"], answer["tick"]["last_price"]) == ("au2512", 900.0)
        assert answer["tick"]["datetime"] == "2025-10-14T21:00:10.000"
        missing = await house.get("/ticks/au25")
        assert (missing.status_code, "au2512" in missing.json()["detail"]) == (404, True)

    flow(story)


def test_bars_are_answered_in_any_window_with_gaps_by_name(house: Any, gateway: Any, flow: Any, kit: Any) -> None:
    gateway.bars = kit.history(date(2025, 10, 14), minutes=75)

    async def story() -> None:
        await house.play(
            kit.at("14 20:58:00"),
            *(kit.tick(f"14 21:{n:02d}:10", 900.0, n + 1, seq=n + 1) for n in range(3)),
            kit.tick("14 21:10:10", 900.0, 90, seq=50),
            kit.at("14 21:12:00"),
        )
        answer = (await house.get("/bars/au2512?since=2025-10-14T21:00:00")).json()
        assert [bar["datetime"][-8:-3] for bar in answer["bars"]] == ["21:00", "21:01", "21:02", "21:10"]
        assert answer["gaps"] == [
            {
                "trading_day": "2025-10-15",
                "start": "2025-10-14T21:03:00",
                "end": "2025-10-14T21:10:00",
                "minutes": 7,
            }
        ]
        assert len((await house.get("/bars/au2512?limit=2")).json()["bars"]) == 2
        assert len((await house.get("/bars/au2512")).json()["bars"]) == 79
        older = (await house.get("/bars/au2512?limit=2&until=2025-10-14T21:01:00")).json()["bars"]
        assert [bar["datetime"][5:16] for bar in older] == ["10-14T10:14", "10-14T21:00"], "panned back, day to day"
        assert (await house.get("/bars/au2512?until=2025-10-01T09:00:00")).json()["bars"] == []
        for interval, count in (("3m", 25), ("5m", 15), ("15m", 5), ("30m", 3), ("60m", 2), ("1h", 2), ("d", 1)):
            answer = (await house.get(f"/bars/au2512?interval={interval}&since=2025-10-14T09:00&limit=90")).json()
            earlier = [bar for bar in answer["bars"] if bar["trading_day"] == "2025-10-14"]
            assert len(earlier) == count - (1 if interval == "d" else 0), interval

    flow(story)


def test_days_without_bars_are_gaps(house: Any, gateway: Any, flow: Any, kit: Any) -> None:
    gateway.bars = kit.history(date(2025, 10, 10), minutes=1)

    async def story() -> None:
        await house.play(kit.at("14 20:58:00"), kit.tick("14 21:00:10", 900.0, 1), kit.at("14 21:01:05"))
        gaps = (await house.get("/bars/au2512?since=2025-10-10T09:00:00")).json()["gaps"]
        assert [(gap["trading_day"], gap["start"][5:-3], gap["end"][5:-3], gap["minutes"]) for gap in gaps] == [
            ("2025-10-10", "10-10T09:01", "10-10T15:00", 224),
            ("2025-10-13", "10-10T21:00", "10-13T15:00", 555),
            ("2025-10-14", "10-13T21:00", "10-14T15:00", 555),
        ]

    flow(story)


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("interval=7m", "interval: found '7m', expected one of 1m, 3m, 5m, 15m, 30m, 60m, 1h, d"),
        ("since=yesterday", "since: found 'yesterday', expected a time such as 2025-10-15T21:00:00"),
        ("until=later", "until: found 'later', expected a time such as 2025-10-15T21:00:00"),
        ("limit=0", "limit: found '0', expected an integer of 1 or more"),
        ("limit=all", "limit: found 'all', expected an integer of 1 or more"),
    ],
)
def test_a_bad_question_is_answered_with_one_clear_line(house: Any, flow: Any, query: str, line: str) -> None:
    async def story() -> None:
        answer = await house.get(f"/bars/au2512?{query}")
        assert (answer.status_code, answer.json()["detail"]) == (400, line)

    flow(story)


def test_bars_that_cannot_be_stored_are_held_published_and_stored_later(
    house: Any, flow: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        blocked = house.settings.data / "bars" / "au2512"
        blocked.write_text("where a folder should be")
        with caplog.at_level(logging.WARNING):
            await house.play(kit.at("14 20:58:00"), kit.tick("14 21:00:10", 900.0, 10), kit.at("14 21:01:05"))
        assert kit.shown(house.bars) == ["au2512 14 21:00 v=10 n=1"]
        assert house.market.status()["bars_unstored"] == 1
        assert any("held in memory" in record.getMessage() for record in caplog.records)
        blocked.unlink()
        await house.play(kit.at("14 21:02:05"))
        assert house.market.status()["bars_unstored"] == 0
        assert len(csv(house)) == 2

    flow(story)


def test_a_damaged_bar_file_stops_no_bar_and_is_named(
    house: Any, flow: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        await house.play(kit.at("14 20:58:00"), kit.tick("14 21:00:10", 900.0, 10), kit.at("14 21:01:05"))
        path = house.settings.data / "bars" / "au2512" / "2025-10-15.csv"
        path.write_text(path.read_text().replace(",10,", ",ten,"))
        await house.dies()
        with caplog.at_level(logging.WARNING):
            await house.market.start()
            await house.play(kit.tick("14 21:02:10", 900.0, 20), kit.at("14 21:03:05"))
        assert kit.shown(house.bars)[-1].startswith("au2512 14 21:02 v=10")
        assert any("line 2: found '2025-10-14T21:00:00,au2512" in record.getMessage() for record in caplog.records)
        assert (await house.get("/bars/au2512")).status_code == 500

    flow(story)


def test_redis_gone_while_publishing_stops_no_bar(
    house: Any, flow: Any, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async def gone(items: Any) -> None:
            raise BusError("redis at 127.0.0.1:6379 is gone")

        await house.play(kit.at("14 20:58:00"), kit.tick("14 21:00:10", 900.0, 10))
        monkeypatch.setattr(house.market.bus, "publish", gone)
        await house.market.on_batch([(b"", kit.tick("14 21:01:10", 900.0, 12))])
        monkeypatch.undo()
        assert len(csv(house)) == 2
        await house.play(kit.tick("14 21:02:10", 900.0, 13))
        assert kit.shown(house.bars) == ["au2512 14 21:01 v=2 n=2"]

    flow(story)


def test_a_symbol_nobody_knows_in_the_configuration_is_one_clear_line(new_house: Any) -> None:
    house = new_house("wrong", symbols=["ua2512"])
    with pytest.raises(SettingsError, match=r"config/arbig.yaml: symbols: ua2512: no product 'ua'.*did you mean"):
        asyncio.run(house.market.start())


def test_the_first_question_about_a_symbol_fetches_its_history(house: Any, gateway: Any, flow: Any, kit: Any) -> None:
    gateway.bars = kit.history(date(2025, 10, 14), symbol="ag2512")

    async def story() -> None:
        answers = await asyncio.gather(*(house.get("/bars/ag2512") for _ in range(3)))
        assert [len(answer.json()["bars"]) for answer in answers] == [3, 3, 3]
        assert [asked["symbol"] for asked in gateway.asked] == ["au2512", "ag2512"]

    flow(story)


def test_minutes_missed_while_market_was_down_are_filled_from_the_counters_memory(
    house: Any, gateway: Any, flow: Any, kit: Any
) -> None:
    gateway.bars = kit.history(kit.today, 7, opening=kit.at("14 21:00:00"))

    async def story() -> None:
        await house.play(
            kit.at("14 20:58:00"),
            kit.tick("14 21:00:10", 900.0, 10, seq=1),
            kit.tick("14 21:01:10", 900.0, 12, seq=2),
        )
        await house.dies()
        await house.market.start()
        await house.play(
            kit.tick("14 21:04:30", 900.0, 44, seq=9),
            kit.tick("14 21:05:10", 900.0, 51, seq=10),
            kit.tick("14 21:06:10", 900.0, 53, seq=11),
        )
        whole = [f"au2512 14 21:0{n} v={7 if n == 5 else 10} n={n + 1}" for n in range(6)]
        assert kit.shown(house.bars) == whole
        assert [line.split(",")[0][-5:] for line in csv(house)[1:]] == [f"0{n}:00" for n in range(6)]
        assert (await house.get("/bars/au2512?since=2025-10-14T21:00:00")).json()["gaps"] == []

    flow(story)


def test_minutes_missed_while_the_line_was_cut_are_filled_too(house: Any, gateway: Any, flow: Any, kit: Any) -> None:
    gateway.bars = kit.history(kit.today, 5, opening=kit.at("14 21:00:00"))

    async def story() -> None:
        await house.play(
            kit.at("14 20:58:00"),
            kit.tick("14 21:00:10", 900.0, 10),
            kit.event(EventType.DISCONNECTED),
            kit.event(EventType.CONNECTED),
            kit.tick("14 21:03:10", 900.0, 40),
            kit.tick("14 21:04:10", 900.0, 50),
        )
        assert kit.shown(house.bars) == [f"au2512 14 21:0{n} v=10 n={n + 1}" for n in range(4)]

    flow(story)


def test_the_end_of_a_day_that_was_missed_is_filled_when_the_next_day_begins(
    house: Any, gateway: Any, flow: Any, kit: Any
) -> None:
    gateway.bars = kit.history(kit.today, 4, opening=kit.at("15 14:56:00"))

    async def story() -> None:
        await house.play(kit.tick("15 14:56:10", 900.0, 3), kit.tick("15 14:57:10", 900.0, 10))
        await house.dies()
        gateway.trading_day = date(2025, 10, 16)
        await house.market.start()
        await house.play(
            kit.tick("15 21:00:10", 900.0, 5, trading_day=gateway.trading_day),
            kit.tick("15 21:01:10", 900.0, 6, trading_day=gateway.trading_day),
        )
        assert kit.shown(house.bars) == [
            "au2512 15 14:56 v=0 n=1 partial",
            *(f"au2512 15 14:5{6 + n} v=10 n={n + 1}" for n in range(1, 4)),
            "au2512 15 21:00 v=5 n=1",
        ]
        assert len(csv(house)) == 5

    flow(story)


def test_a_market_that_begins_in_the_middle_of_a_day_does_not_tell_the_day_so_far_as_news(
    house: Any, gateway: Any, flow: Any, kit: Any
) -> None:
    gateway.bars = kit.history(kit.today, 9, opening=kit.at("14 21:00:00"))

    async def story() -> None:
        await house.play(
            kit.at("14 21:03:00"), *(kit.tick(f"14 21:0{n}:10", 900.0, 10 * n, seq=10 * n) for n in (3, 4, 5))
        )
        assert kit.shown(house.bars) == ["au2512 14 21:03 v=0 n=1 partial", "au2512 14 21:04 v=10 n=2"]

    flow(story)


def test_where_the_counter_cannot_be_asked_the_bar_stays_partial(
    house: Any, gateway: Any, flow: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.bars = kit.history(kit.today, 9, opening=kit.at("14 21:00:00"))

    async def story() -> None:
        gateway.is_away = True
        await house.play(kit.at("14 20:58:00"), *(kit.tick(f"14 21:0{n}:10", 900.0, 40, seq=9 * n) for n in (0, 3, 4)))
        assert kit.shown(house.bars) == ["au2512 14 21:00 v=40 n=1 partial", "au2512 14 21:03 v=0 n=2 partial"]
        assert any("bars that were missed stay a gap" in record.getMessage() for record in caplog.records)

    flow(story)
