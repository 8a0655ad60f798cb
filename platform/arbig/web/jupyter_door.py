"""JupyterLab's door: its own token, or Web's session. Whoever has neither is sent to Web's log-in."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import IdentityProvider, User
from tornado.web import RequestHandler

from arbig.runtime.clock import WallClock
from arbig.runtime.settings import load_settings
from arbig.web.door import Sessions, cookie_name


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
        if self._sessions.is_open(handler.get_cookie(self._cookie)):
            return User(username="trader", name="Trader", display_name="Trader")
        return await super()._get_user(handler)

    def get_user(self, handler: RequestHandler) -> Any:
        return self._get_user(handler)
