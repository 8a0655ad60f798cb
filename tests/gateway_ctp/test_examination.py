"""`arbig doctor --ctp` on the counter double: each step by name, the failing one last, nothing sent or confirmed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from counter_double import AUTH_CODE, PASSWORD, USER

from arbig.gateway.ctp.examination import MENDS, Examination
from arbig.gateway.ctp.latch import Latch
from arbig.gateway.ctp.reconnect import FATAL, TRANSIENT
from arbig.runtime.clock import WallClock
from arbig.runtime.credentials import Secret
from arbig.runtime.doctor import Finding
from arbig.runtime.settings import Settings

Offices = Callable[..., Any]
ROOT = Path(__file__).parents[2]


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def walked(
    office: Any, again: bool = False, symbols: tuple[str, ...] = ("au2512",), **changes: Any
) -> list[Finding]:
    async def there(address: str) -> None:
        return None

    account = office.account(**changes)
    latch = Latch(account, office.flow_folder.with_name("refused.json"))
    if again:
        latch.open()
    steps = Examination(account, lambda: office.apis, WallClock(), latch, symbols, office.flow_folder / "doctor", there)
    return [finding async for finding in steps.findings()]


def test_a_way_that_is_free_is_told_step_by_step_and_nothing_is_sent(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office(wait=False, begin=False) as office:
            found = await walked(office)
            assert [finding.subject for finding in found] == [
                "trading front", "market data front", "trading API", "authentication", "log-in", "flow control",
                "settlement", "contracts", "market data log-in",
            ]  # fmt: skip
            assert {finding.subject: finding.level for finding in found if finding.level != "ok"} == {
                "settlement": "warn"
            }
            for call in ("reqOrderInsert", "reqOrderAction", "reqSettlementInfoConfirm"):
                assert await office.do(lambda truth, call=call: truth.count(call)) == 0
            shown = "\n".join(map(str, found))
            assert not any(word in shown for word in (PASSWORD, AUTH_CODE, USER))

    play(story())


@pytest.mark.parametrize("error_id", sorted(FATAL | TRANSIENT))
@pytest.mark.parametrize(("call", "step"), [("reqAuthenticate", "authentication"), ("reqUserLogin", "log-in")])
def test_a_refusal_is_the_last_step_with_its_number_and_mend(
    open_office: Offices, call: str, step: str, error_id: int
) -> None:
    """A fatal one is said to be fatal and is not tried again, by the doctor or by the Gateway."""

    async def story() -> None:
        async with open_office(wait=False, begin=False) as office:
            await office.do(lambda truth: truth.refuse[f"trading.{call}"].append(error_id))
            last = (await walked(office))[-1]
            assert (last.level, last.subject, last.mend) == ("fail", step, MENDS[error_id])
            assert last.found.startswith(f"{error_id}, ") and ("fatal" in last.found) == (error_id in FATAL)
            second = (await walked(office))[-1]
            if error_id in FATAL:
                assert "arbig doctor --ctp --again" in second.found
                assert await office.do(lambda truth: truth.count(call)) == 1
            assert (await walked(office, again=True))[-1].subject == "market data log-in"

    play(story())


def test_a_wrong_auth_code_is_named(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office(wait=False, begin=False) as office:
            last = (await walked(office, auth_code=Secret("letter-by-letter")))[-1]
            assert (last.level, last.subject) == ("fail", "authentication") and last.found.startswith("63, ")

    play(story())


def test_a_contract_that_is_not_listed_is_named(open_office: Offices) -> None:
    async def story() -> None:
        async with open_office(wait=False, begin=False) as office:
            found = await walked(office, symbols=("au2512", "au9912"))
            (contracts,) = [finding for finding in found if finding.level == "fail"]
            assert contracts.subject == "contracts" and contracts.found.endswith("not among them: au9912")

    play(story())


def test_the_command_names_a_front_that_is_closed(house_settings: Settings) -> None:
    (house_settings.config / "ctp_config.yaml").write_text(
        "user_id: u1\nbroker_id: '9999'\ntd_address: tcp://127.0.0.1:1\nmd_address: tcp://127.0.0.1:1\napp_id: a\n"
    )
    secrets = {"ARBIG_CTP_PASSWORD": PASSWORD, "ARBIG_CTP_AUTH_CODE": AUTH_CODE}
    words = ["doctor", "--ctp", "--config", str(house_settings.config), "--data", str(house_settings.data)]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("arbig")), *words], env=os.environ | secrets, cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "fail trading front: tcp://127.0.0.1:1: " in done.stdout and "mend: check the address" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr
