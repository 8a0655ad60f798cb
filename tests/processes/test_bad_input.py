"""Bad input to a running house: one clear line each, nothing lost, nothing stopped."""

import json
from collections.abc import Iterator

import pytest
import redis
from house import House, until

pytestmark = pytest.mark.processes

STREAMS = ("trade", "position", "order_status", "order", "cmd", "event")
GARBAGE = (b"{", b"[]", b'{"symbol": 1}', b"\xff\xfe", b'{"v": 2}')


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house in the middle of a session, the clock slow enough to stay there."""
    house = House(tmp_path_factory.mktemp("bad"), port_offset=2300)
    house.edit("simulation.yaml", speed=20)
    with house.running():
        until(lambda: house.ask("market", "GET", "/ticks/au2512")["tick"], 60, "the first tick")
        until(lambda: "T21:" in house.ask("gateway", "GET", "/clock")["session_time"], 60, "continuous trading")
        yield house


def _admin(house: House) -> redis.Redis:
    known = json.loads((house.data / "run" / "redis.json").read_text())
    return redis.Redis(port=known["port"], username="admin", password=known["users"]["admin"])


def _order(**changes: object) -> dict[str, object]:
    plain = {"symbol": "au2512", "exchange": "SHFE", "direction": "LONG", "offset": "OPEN", "order_type": "LIMIT"}
    return {**plain, "price": 840.0, "volume": 1, **changes}


def _said(house: House, order: dict[str, object]) -> str:
    """What a person is told: at once, or by the order's state."""
    answer = house.ask("trading", "POST", "/orders", order)
    return str(answer.get("error_msg") or answer.get("detail") or answer)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"volume": 0}, ("volume", "0")),
        ({"price": 840.01}, ("840.01", "0.02")),
        ({"price": 1.0}, ("price 1 ", "au2512")),
        ({"price": 99999.0}, ("99999", "au2512")),
        ({"symbol": "au2531"}, ("au2531",)),
        ({"symbol": "gold"}, ("gold",)),
        ({"symbol": "au2412"}, ("au2412", "au2512")),
        ({"offset": "CLOSE", "direction": "SHORT", "volume": 400}, ("400",)),
        ({"direction": "UP"}, ("UP",)),
    ],
)
def test_a_bad_order_is_refused_in_one_line_that_names_what_is_wrong(
    house: House, changes: dict[str, object], words: tuple[str, ...]
) -> None:
    """Before it reaches the exchange; the line names the value found and what belongs there."""
    said = _said(house, _order(**changes))
    assert "\n" not in said
    assert [word for word in words if word not in said] == [], said


def test_garbage_on_every_stream_and_channel_is_set_aside_with_its_reason(house: House) -> None:
    """Each entry ends in stream:dead once per group that had to read it; ticks and orders go on."""
    line = _admin(house)
    for stream in STREAMS:
        for payload in GARBAGE:
            line.xadd(f"stream:{stream}", {"data": payload})
        line.xadd(f"stream:{stream}", {"other": b"field"})
    for payload in GARBAGE:
        line.publish("tick:au2512", payload)
        line.publish("bar:au2512", payload)
    groups = {"trade": 2, "position": 2, "order_status": 2, "order": 1, "cmd": 1, "event": 3}
    expected = sum(groups.values()) * (len(GARBAGE) + 1)
    until(lambda: line.xlen("stream:dead") >= expected, 30, f"{expected} dead letters")
    letters = [json.loads(fields[b"data"]) for _, fields in line.xrange("stream:dead")]
    assert len(letters) == expected
    assert all(letter["reason"] and "\n" not in letter["reason"] for letter in letters)

    seen = house.ask("market", "GET", "/ticks/au2512")["tick"]["seq"]
    until(lambda: house.ask("market", "GET", "/ticks/au2512")["tick"]["seq"] > seen, 20, "ticks go on")
    status = house.status()
    assert [row["name"] for row in status["services"] if not row["healthy"]] == []
    tick = house.ask("market", "GET", "/ticks/au2512")["tick"]
    house.ask("trading", "POST", "/orders", _order(price=round(tick["ask_price_1"] + 0.2, 2)))
    until(
        lambda: any(t["strategy_name"] == "manual" for t in house.ask("trading", "GET", "/trades")["trades"]),
        20,
        "a person's order fills after the garbage",
    )
    line.close()
