"""The connector's small parts by themselves: the pace, the clock, the queries, the settings and their secrets."""

from __future__ import annotations

import asyncio
import copy
import itertools
import stat
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbig.domain.messages import SHANGHAI
from arbig.gateway.ctp.latch import Latch
from arbig.gateway.ctp.pace import Pace
from arbig.gateway.ctp.queries import QueryQueue, QueryRefused
from arbig.gateway.ctp.session_time import LAG, SessionTime
from arbig.gateway.ctp.settings import load_ctp
from arbig.runtime.broker import check_gateway, check_library
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import ManualClock
from arbig.runtime.settings import Settings, SettingsError, load_settings
from arbig.runtime.supervisor import configuration

EVENING = datetime(2025, 10, 14, 21, 0, tzinfo=SHANGHAI)
TODAY = date(2025, 10, 15)
CALENDAR = load_calendar(load_settings(root=Path(__file__).parents[2]))


@given(st.lists(st.floats(0, 0.4), min_size=1, max_size=60), st.integers(1, 6))
def test_never_more_than_the_rate_in_any_second(gaps: list[float], rate: int) -> None:
    pace, now, sent = Pace(rate), 0.0, []
    for gap in gaps:
        now += gap
        sent.append(now + pace.take(now))
    assert all(later >= earlier - 1e-9 for earlier, later in itertools.pairwise(sent))
    assert all(later - earlier >= 1 - 1e-9 for earlier, later in zip(sent, sent[rate:], strict=False))


def test_queries_keep_their_distance_and_one_is_in_flight() -> None:
    async def story() -> None:
        clock, sent = ManualClock(EVENING), []
        queue = QueryQueue(clock, iter(range(1, 99)))

        def send(number: int) -> int:
            sent.append((clock.monotonic(), number))
            return 0

        asked = [asyncio.ensure_future(queue.ask("orders", send, len)) for _ in range(3)]
        for number in (1, 2, 3):
            await clock.advance(0.5 if number == 1 else 1.1)
            assert len(sent) == number
            queue.hear({"a": 1}, {}, number, False)
            queue.hear({"a": 2}, {}, number, True)
        assert [await answer for answer in asked] == [2, 2, 2]
        times = [when for when, _ in sent]
        assert all(later - earlier >= 1.05 for earlier, later in itertools.pairwise(times))

    asyncio.run(story())


def test_a_front_that_is_asked_too_fast_is_asked_ever_more_seldom_until_the_next_log_in() -> None:
    """-3 is too many a second, whatever QryFreq has promised; -2, one still in flight, says nothing of the pace."""

    async def story() -> None:
        clock, codes = ManualClock(EVENING), iter([-3, -2, -3, -3, -3, -3, 0])
        queue, sent = QueryQueue(clock, iter(range(1, 99))), []
        queue.allow(10)

        def send(number: int) -> int:
            sent.append((clock.monotonic(), number))
            return next(codes)

        asked = asyncio.ensure_future(queue.ask("orders", send, len))
        await clock.advance(20)
        queue.hear({"a": 1}, {}, sent[-1][1], True)
        assert await asked == 1
        gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(sent)]
        assert gaps == pytest.approx([0.21, 0.21, 0.42, 0.84, 1.68, 3.36])
        assert queue.spacing == pytest.approx(3.36)
        queue.allow(10)
        assert queue.spacing == pytest.approx(0.105)

    asyncio.run(story())


def test_a_refused_query_names_number_and_words_and_the_front_may_allow_more() -> None:
    async def story() -> None:
        queue = QueryQueue(ManualClock(EVENING), iter(range(1, 99)))
        queue.allow(10)
        assert queue.spacing == pytest.approx(0.105)
        queue.allow(0)
        assert queue.spacing == pytest.approx(1.05)
        asked = asyncio.ensure_future(queue.ask("orders", lambda number: 0, len))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not queue.hear({}, {}, 77, True), "an answer to somebody else"
        queue.hear({}, {"ErrorID": 15, "ErrorMsg": "CTP:字段有误"}, 1, True)
        with pytest.raises(QueryRefused, match="orders: 15, CTP:字段有误"):
            await asked

    asyncio.run(story())


def test_the_log_ins_clock_and_the_ticks_move_session_time() -> None:
    clock = ManualClock(EVENING)
    time = SessionTime(clock, CALENDAR, follows_ticks=False)
    time.begin("21:00:10", TODAY)
    assert time.now() == EVENING + timedelta(seconds=10) - LAG
    time.hear(EVENING + timedelta(seconds=10.5), is_first=True)
    assert time.now() == EVENING + timedelta(seconds=10.5)
    time.begin("23:59:59", TODAY)
    assert time.now() == EVENING + timedelta(hours=2, minutes=59, seconds=59) - LAG


def test_a_test_front_at_an_odd_hour_takes_the_clock_with_it_and_a_brokers_does_not() -> None:
    """The first snapshot may be hours old on any front."""
    morning = EVENING - timedelta(hours=11)
    for follows, expected in ((True, morning), (False, EVENING - LAG)):
        time = SessionTime(ManualClock(EVENING), CALENDAR, follows_ticks=follows)
        time.begin("21:00:00", TODAY)
        time.hear(morning - timedelta(hours=5), is_first=True)
        assert time.now() == EVENING - LAG
        time.hear(morning, is_first=False)
        assert time.now() == expected


def ctp(settings: Settings, **lines: str) -> Settings:
    body = {"user_id": "u1", "broker_id": '"9999"', "td_address": "tcp://127.0.0.1:1", "md_address": "tcp://127.0.0.1:2",
            "app_id": "client", **lines}  # fmt: skip
    (settings.config / "ctp_config.yaml").write_text("\n".join(f"{key}: {word}" for key, word in body.items()))
    return settings


def test_secrets_come_from_the_environment_and_are_shown_as_stars(
    house_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARBIG_CTP_PASSWORD", "one-secret")
    monkeypatch.setenv("ARBIG_CTP_AUTH_CODE", "two-secret")
    found = load_ctp(ctp(house_settings, environment="test"))
    assert (found.password.reveal(), found.auth_code.reveal(), found.is_production) == (
        "one-secret",
        "two-secret",
        False,
    )
    assert "secret" not in f"{found!r} {found} {found.password} {found.password!r}"
    with pytest.raises(TypeError):
        copy.deepcopy(found.password)


def test_a_secret_in_a_file_must_be_ours_alone(
    house_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARBIG_CTP_AUTH_CODE", "code")
    monkeypatch.delenv("ARBIG_CTP_PASSWORD", raising=False)
    kept = tmp_path / "password"
    kept.write_text("kept-secret\n")
    settings = ctp(house_settings, password="${file:" + str(kept) + "}")
    kept.chmod(0o644)
    with pytest.raises(SettingsError, match=r"password: .* may be read by others \(0644\); chmod 600"):
        load_ctp(settings)
    kept.chmod(0o600)
    assert load_ctp(settings).password.reveal() == "kept-secret"


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ({"password": "plain-word"}, "password: a secret must not stand in this file; remove it and export"),
        ({}, "password: not given; write e.g. export ARBIG_CTP_PASSWORD="),
        ({"password": "${env:NOWHERE_AT_ALL}"}, "password: ${env:NOWHERE_AT_ALL}: nothing is there"),
        ({"password": "${keyring:arbig/u1}"}, "keyring"),
        ({"user_id": "${env:NOWHERE_AT_ALL}"}, "user_id: ${env:NOWHERE_AT_ALL}: nothing is there"),
    ],
)
def test_what_is_missing_is_one_line_without_the_secret(
    house_settings: Settings, monkeypatch: pytest.MonkeyPatch, lines: dict[str, str], complaint: str
) -> None:
    monkeypatch.delenv("ARBIG_CTP_PASSWORD", raising=False)
    with pytest.raises(SettingsError) as refused:
        load_ctp(ctp(house_settings, **lines))
    assert complaint in str(refused.value) and "plain-word" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_locale_is_one_line_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbig.runtime.broker.CHINESE", "xx_XX.NOTHING")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(SettingsError, match=r"the locale xx_XX.NOTHING is not there.*localedef"):
        check_library()


@pytest.mark.parametrize("compiler", [None, "/usr/bin/g++"])
def test_a_missing_library_is_one_line_that_installs_the_compiler_too(
    monkeypatch: pytest.MonkeyPatch, compiler: str | None
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: compiler)
    with pytest.raises(
        SettingsError, match=r"vnpy_ctp is not installed.*pip install --no-deps vnpy vnpy_ctp"
    ) as refused:
        check_library()
    assert ("apt-get install g++" in str(refused.value)) == (compiler is None)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "mode: paper",
            "account_id: found simnow under mode: paper; books of paper and of money stay apart: write e.g. account_id",
        ),
        ("account_id: paper", "account_id: found paper under mode: live; books of paper and of money stay apart"),
        ("account_id: sim", "account_id: found sim, whose books are the simulated exchange's; write e.g. account_id"),
        ("", "ctp_config.yaml: password: not given; write e.g. export ARBIG_CTP_PASSWORD="),
    ],
)
def test_a_house_that_may_not_trade_at_a_broker_is_told_before_anything_starts(
    house_settings: Settings, monkeypatch: pytest.MonkeyPatch, line: str, complaint: str
) -> None:
    monkeypatch.delenv("ARBIG_CTP_PASSWORD", raising=False)
    lines = {"gateway": "ctp", "mode": "live", "account_id": "simnow"} | dict([line.split(": ")] if line else [])
    house = "\n".join(f"{key}: {value}" for key, value in lines.items())
    (house_settings.config / "arbig.yaml").write_text(house)
    with pytest.raises(SettingsError) as refused:
        check_gateway(load_settings(root=house_settings.root, config=ctp(house_settings).config))
    assert complaint in str(refused.value) and "\n" not in str(refused.value)


def test_paper_needs_no_password(house_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A front of market data takes an empty one, and no other is ever asked."""
    monkeypatch.delenv("ARBIG_CTP_PASSWORD", raising=False)
    (house_settings.config / "arbig.yaml").write_text("gateway: ctp\nmode: paper\naccount_id: paper")
    account = load_ctp(load_settings(root=house_settings.root, config=ctp(house_settings).config))
    assert (account.password.reveal(), account.needs_authentication) == ("", False)


def test_the_brokers_secrets_reach_the_gateway_and_no_other_process(house_settings: Settings) -> None:
    """A notebook's kernel finds their names empty."""
    (house_settings.config / "arbig.yaml").write_text("gateway: ctp\nmode: live\naccount_id: simnow")
    ctp(house_settings, password="${env:MY_BROKERS_WORD}")
    text = configuration(
        load_settings(root=house_settings.root, config=house_settings.config, data=house_settings.data)
    )
    environment = {
        part.partition("]")[0]: next(line for line in part.splitlines() if line.startswith("environment="))
        for part in text.split("[program:")[1:]
    }
    hidden = ',ARBIG_CTP_PASSWORD="",ARBIG_CTP_AUTH_CODE="",MY_BROKERS_WORD=""'
    own = environment.pop("gateway")
    assert not any(word in own for word in hidden.split(",") if word)
    assert all(hidden in line for line in environment.values()) and "jupyter" in environment


def test_a_refusal_is_remembered_until_the_credentials_change_or_a_person_opens_it(
    house_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is written down names neither password nor code."""
    monkeypatch.setenv("ARBIG_CTP_AUTH_CODE", "code-secret")
    monkeypatch.setenv("ARBIG_CTP_PASSWORD", "wrong-secret")
    file, account = tmp_path / "refused.json", load_ctp(ctp(house_settings))
    Latch(account, file).close("trading", "log-in: 3, CTP:不合法的登录", EVENING)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and "secret" not in file.read_text()
    again = Latch(account, file)
    assert "log-in: 3" in (again.refusal("trading") or "") and again.refusal("market_data") is None
    monkeypatch.setenv("ARBIG_CTP_PASSWORD", "right-secret")
    assert Latch(load_ctp(ctp(house_settings)), file).refusal("trading") is None
    again.open()
    assert Latch(account, file).refusal("trading") is None


@pytest.mark.parametrize("name", ["simnow", "simnow_7x24", "openctp"])
def test_the_shipped_templates_are_complete(
    house_settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("ARBIG_CTP_PASSWORD", "ARBIG_CTP_AUTH_CODE", "ARBIG_CTP_USER_ID"):
        monkeypatch.setenv(variable, "given")
    template = Path(__file__).parents[2] / "config" / "templates" / f"ctp_config.{name}.yaml"
    (house_settings.config / "ctp_config.yaml").write_text(template.read_text("utf-8"))
    found: Any = load_ctp(house_settings)
    assert (found.user_id, found.password.reveal(), found.is_production) == ("given", "given", name != "openctp")
    assert found.is_practice, "its clock may stand anywhere, and is followed"
