"""Alerts over Web: who is told, a test, and what is said where nobody is."""

from __future__ import annotations

import pytest

from arbig.web import alerts


def test_where_nobody_is_to_be_told_there_is_no_target_and_nothing_is_tested(web) -> None:
    with web.as_program() as client:
        assert client.get("/api/v1/alerts").json() == {"targets": [], "sent": []}
        assert client.post("/api/v1/alerts/test", json={}).json() == {"results": []}


def test_targets_and_the_test_are_the_alerts_processs_own_answers(web, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is away that is one sentence; a viewer may look and not press."""
    monkeypatch.setattr(alerts, "wants_alerts", lambda settings: True)
    with web.as_program() as client:
        away = client.get("/api/v1/alerts")
        assert (away.status_code, away.json()["detail"]) == (503, "alerts does not answer; see: arbig logs alerts")
        assert client.post("/api/v1/alerts/test", json={"target": "phone"}).status_code == 503
        assert client.post("/api/v1/alerts/test", json={"targets": "phone"}).status_code == 422
    with web.as_viewer() as client:
        assert client.post("/api/v1/alerts/test", json={}).status_code == 403
