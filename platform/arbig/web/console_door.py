"""The console's door, as Bokeh's auth hook: whoever has Web's session may enter, everybody else goes to Web's log-in.
Asked for the page and again for its WebSocket."""

from __future__ import annotations

from functools import cache
from typing import Any

from tornado.web import HTTPError, RequestHandler

from arbig.runtime.clock import WallClock
from arbig.runtime.settings import Settings, load_settings
from arbig.web.door import Role, Sessions, cookie_name

login_url = "/login"
logout_url = "/logout"


@cache
def _house() -> tuple[Settings, Sessions]:
    settings = load_settings()
    return settings, Sessions(settings, WallClock())


HOSTS = ("127.0.0.1", "localhost")


def get_user(handler: RequestHandler) -> str | None:
    """The role. Asked under a name of somebody else's that leads here (DNS rebinding), nobody is known. The request
    keeps the role for the page: what the browser sends along cannot change it."""
    if handler.request.host_name not in HOSTS:
        raise HTTPError(421)
    settings, sessions = _house()
    session = sessions.session_of(handler.get_cookie(cookie_name(settings)))
    handler.request.arbig_role = session.role if session else None  # type: ignore[attr-defined]
    return session.role if session else None


def role_of(request: Any) -> Role:
    """The role a page is made for; `request` is `pn.state.curdoc.session_context.request`. Whoever is not known to be a
    trader looks."""
    return "trader" if getattr(request, "arbig_role", None) == "trader" else "viewer"


def web_address(handler: RequestHandler, path: str) -> str:
    """Web, under the host name the browser uses: cookies belong to host names."""
    host = "localhost" if handler.request.host_name == "localhost" else "127.0.0.1"
    return f"http://{host}:{_house()[0].port('web')}{path}"


class LoginHandler(RequestHandler):
    def get(self) -> None:
        self.redirect(web_address(self, "/login?next=console"))


class LogoutHandler(RequestHandler):
    def get(self) -> None:
        self.redirect(web_address(self, "/logout"))
