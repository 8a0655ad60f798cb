"""JupyterLab's door: its own token, or a trader's session of Web's. Whoever has neither is sent to Web's log-in.

A notebook runs what is typed with the rights of this account and can read every file of it, the trader's token too: a
viewer does not come in here.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import IdentityProvider, User
from tornado.web import RequestHandler

from arbig.runtime.clock import WallClock
from arbig.runtime.settings import load_settings
from arbig.web.door import TRADER, Sessions, cookie_name


class ToWebLogin(RequestHandler):
    @allow_unauthenticated  # type: ignore[untyped-decorator]
    def get(self) -> None:
        host = "localhost" if self.request.host_name == "localhost" else "127.0.0.1"
        self.redirect(f"http://{host}:{load_settings().port('web')}/login?next=jupyter")


class HouseIdentity(IdentityProvider):  # type: ignore[misc]
    """Cookie log-ins stay under Jupyter's own origin and XSRF checks; only who somebody is comes from Web."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.login_handler_class = ToWebLogin
        settings = load_settings()
        self._sessions = Sessions(settings, WallClock())
        self._cookie = cookie_name(settings)

    async def _get_user(self, handler: RequestHandler) -> User | None:
        session = self._sessions.session_of(handler.get_cookie(self._cookie))
        if session is not None and session.role == TRADER:
            return User(username="trader", name="Trader", display_name="Trader")
        return await super()._get_user(handler)

    def get_user(self, handler: RequestHandler) -> Any:
        return self._get_user(handler)
