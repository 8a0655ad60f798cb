"""The door: tickets, sessions, and the brake on guessing."""

from __future__ import annotations

import asyncio
from datetime import datetime

from arbig.domain.messages import SHANGHAI
from arbig.runtime.clock import ManualClock
from arbig.runtime.settings import Settings
from arbig.web.door import SESSION_SECONDS, TICKET_SECONDS, Brake, Door, Sessions


def clock() -> ManualClock:
    return ManualClock(datetime(2025, 10, 9, 9, 0, tzinfo=SHANGHAI))


def passing(manual: ManualClock, seconds: float) -> None:
    asyncio.run(manual.advance(seconds))


def test_a_ticket_opens_the_door_once(settings: Settings) -> None:
    door = Door(settings, clock())
    ticket = door.give_ticket("trader")
    assert ["trader", None, None] == [door.take_ticket(given) for given in (ticket, ticket, "another")]
    door.close()


def test_a_ticket_is_worth_nothing_after_ten_minutes(settings: Settings) -> None:
    now = clock()
    door = Door(settings, now)
    ticket = door.give_ticket("trader")
    passing(now, TICKET_SECONDS + 1)
    assert not door.take_ticket(ticket)
    door.close()


def test_tickets_and_closed_sessions_survive_a_restart_of_web(settings: Settings) -> None:
    door = Door(settings, clock())
    used, fresh, cookie = door.give_ticket("trader"), door.give_ticket("trader"), door.make("trader")
    door.take_ticket(used)
    door.end(cookie)
    door.close()
    again = Door(settings, clock())
    assert [None, "trader", False] == [again.take_ticket(used), again.take_ticket(fresh), again.is_open(cookie)]
    again.close()


def test_the_console_sees_at_once_that_somebody_logged_out(settings: Settings) -> None:
    now = clock()
    door, console = Door(settings, now), Sessions(settings, now)
    cookie, other = door.make("trader"), door.make("trader")
    assert console.is_open(cookie)
    door.end(cookie)
    assert [False, True] == [console.is_open(cookie), console.is_open(other)]
    door.close()


def test_a_session_ends_by_itself_and_a_forged_one_never_begins(settings: Settings) -> None:
    now = clock()
    sessions = Sessions(settings, now)
    cookie = sessions.make("trader")
    forged = cookie[:-2] + ("aa" if cookie[-2:] != "aa" else "bb")
    assert [True, False, False, False] == [sessions.is_open(given) for given in (cookie, forged, "", "[1]")]
    passing(now, SESSION_SECONDS + 1)
    assert not sessions.is_open(cookie)


def test_a_session_and_a_ticket_keep_their_role(settings: Settings) -> None:
    door = Door(settings, clock())
    sessions = [door.session_of(door.make(role)) for role in ("trader", "viewer")]
    tickets = [door.take_ticket(door.give_ticket(role)) for role in ("trader", "viewer")]
    assert (["trader", "viewer"], ["trader", "viewer"]) == ([session.role for session in sessions if session], tickets)
    door.close()


def test_a_cookie_from_before_there_were_roles_logs_in_again(settings: Settings) -> None:
    sessions = Sessions(settings, clock())
    for kept in (["id", 9e9], ["id", 9e9, "admin"], ["id"], "trader", {"role": "trader"}):
        assert not sessions.is_open(sessions._signer.dumps(kept))


def test_each_token_is_of_one_role(settings: Settings) -> None:
    door = Door(settings, clock())
    given = (settings.token, settings.viewer_token, settings.token[:-1], "", "ä€\udcff", settings.secret)
    assert ["trader", "viewer", None, None, None, None] == [door.role_of(token) for token in given]
    assert 0o600 == (settings.run / "viewer_token").stat().st_mode & 0o777
    door.close()


def test_five_failures_are_free_then_each_one_doubles_the_wait() -> None:
    now = clock()
    brake = Brake(now)
    waits = []
    for _ in range(7):
        brake.failed()
        waits.append(brake.seconds_left())
    assert [0, 0, 0, 0, 30, 60, 120] == waits
    passing(now, 121)
    assert brake.seconds_left() == 0
    brake.succeeded()
    brake.failed()
    assert brake.seconds_left() == 0
