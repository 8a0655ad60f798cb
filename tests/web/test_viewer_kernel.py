"""A notebook with the viewer's token: its kernel sees everything and moves nothing, and finds no other key in what it
was given. What Redis says to one that opens it itself: tests/security/test_redis_guard.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNEL = """
import json, os
from arbig.client.client import ClientError
from arbig.domain.messages import Direction, Offset
from arbig.lab.desk import Desk

desk = Desk()
ways = {
    "order": lambda client: client.send_order("au2512", Direction.LONG, Offset.OPEN, 880.0, 1),
    "cancel": lambda client: client.cancel_order("1"),
    "halt": lambda client: client.halt("by a viewer"),
    "flatten": lambda client: client.flatten(),
    "deploy": lambda client: client.deploy({"class_name": "MaRsiStrategy"}),
    "state": lambda client: client.set_trading_state("ACTIVE"),
    "service": lambda client: client.control_service("trading", "stop"),
    "ticket": lambda client: client.ticket(),
}
said = {}
for name, wish in ways.items():
    try:
        said[name] = str(desk.live.ask(wish))
    except ClientError as error:
        said[name] = f"{error.status} {error}"
print(json.dumps({
    "said": said,
    "positions": len(desk.positions),
    "role": desk.live.ask(lambda client: client.whoami()).role,
    "environment": dict(os.environ),
    "made": sorted(path.name for path in (desk.settings.data / "run").glob("*")),
}))
"""


@pytest.fixture
def kernel(web, tmp_path: Path) -> dict[str, object]:
    """As another account runs it: a data folder of its own, where Web is, and the viewer's token."""
    for name in ("trading", "strategy", "gateway"):
        web.start_sibling(name)
    row = {"symbol": "au2512", "exchange": "SHFE", "direction": "LONG", "volume": 2, "yd_volume": 0, "frozen": 0}
    row |= {"price": 880.0, "pnl": 0.0, "datetime": "2025-10-09T09:00:00.000"}
    web.siblings.answers["trading", "GET", "/positions"] = (200, {"as_of": {}, "positions": [row]})
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(tmp_path),
        "ARBIG_ROOT": str(ROOT),
        "ARBIG_DATA": str(tmp_path / "own"),
        "ARBIG_PORT_OFFSET": str(web.settings.port_offset),
        "ARBIG_TOKEN": web.settings.viewer_token,
    }
    done = subprocess.run([sys.executable, "-c", KERNEL], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_kernel_with_a_viewers_token_sees_everything_and_moves_nothing(web, kernel) -> None:
    said = kernel["said"]
    assert {"403"} == {words[:3] for words in said.values()}, said
    assert {True} == {"a viewer may look, not act" in words for words in said.values()}
    assert ("viewer", 1) == (kernel["role"], kernel["positions"])
    assert [] == [heard for heard in web.siblings.heard if heard[1] != "GET"]
    given = json.dumps(kernel["environment"])
    assert (True, False, False) == tuple(
        secret in given for secret in (web.settings.viewer_token, web.settings.token, web.settings.secret)
    )
    assert "token" not in kernel["made"]
