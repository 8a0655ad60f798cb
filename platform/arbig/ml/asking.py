"""Asking the model server what it serves."""

from __future__ import annotations

from typing import Any

import httpx

from arbig.runtime.settings import Settings


def asked(settings: Settings) -> dict[str, Any] | None:
    """`GET /models`; None when no server answers."""
    try:
        answer = httpx.get(
            f"http://127.0.0.1:{settings.port('ml')}/models",
            headers={"Authorization": f"Bearer {settings.ml_token}"},
            timeout=5,
            trust_env=False,
        )
    except httpx.HTTPError:
        return None
    found: dict[str, Any] = answer.json() if answer.status_code == 200 else {"models": [], "problems": {}}
    return found
