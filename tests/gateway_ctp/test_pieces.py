"""The connector's small parts by themselves: the pace, the clock, the queries, the settings and their secrets."""

from __future__ import annotations

import asyncio
import copy
import itertools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbig.domain.messages import SHANGHAI
from arbig.gateway.ctp.api import ApiMissing, check_locale
from arbig.gateway.ctp.pace import Pace
from arbig.gateway.ctp.queries import QueryQueue, QueryRefused
from arbig.gateway.ctp.session_time import LAG, SessionTime
from arbig.gateway.ctp.settings import load_ctp
from arbig.runtime.clock import ManualClock
from arbig.runtime.settings import Settings, SettingsError

EVENING = datetime(2025, 10, 14, 21, 0, tzinfo=SHANGHAI)


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
    time = SessionTime(clock, follows_ticks=False)
    time.begin("21:00:10")
    assert time.now() == EVENING + timedelta(seconds=10) - LAG
    time.hear(EVENING + timedelta(seconds=10.5), is_first=True)
    assert time.now() == EVENING + timedelta(seconds=10.5)
    time.begin("23:59:59")
    assert time.now() == EVENING + timedelta(hours=2, minutes=59, seconds=59) - LAG


def test_a_test_front_at_an_odd_hour_takes_the_clock_with_it_and_a_brokers_does_not() -> None:
    """The first snapshot may be hours old on any front."""
    morning = EVENING - timedelta(hours=11)
    for follows, expected in ((True, morning), (False, EVENING - LAG)):
        time = SessionTime(ManualClock(EVENING), follows_ticks=follows)
        time.begin("21:00:00")
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
    monkeypatch.setattr("arbig.gateway.ctp.api.CHINESE", "xx_XX.NOTHING")
    with pytest.raises(ApiMissing, match=r"the locale xx_XX.NOTHING is not there.*localedef"):
        check_locale()


@pytest.mark.parametrize("name", ["simnow", "openctp"])
def test_the_shipped_templates_are_complete(
    house_settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("ARBIG_CTP_PASSWORD", "ARBIG_CTP_AUTH_CODE", "ARBIG_CTP_USER_ID"):
        monkeypatch.setenv(variable, "given")
    template = Path(__file__).parents[2] / "config" / "templates" / f"ctp_config.{name}.yaml"
    (house_settings.config / "ctp_config.yaml").write_text(template.read_text("utf-8"))
    found: Any = load_ctp(house_settings)
    assert (found.user_id, found.password.reveal(), found.is_production) == ("given", "given", name == "simnow")
