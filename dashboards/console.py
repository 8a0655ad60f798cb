"""The console, as `panel serve dashboards/console.py` runs it. Started by `python -m arbig.web.console`."""

import panel as pn
from views.board import shared_board
from views.shell import LOOK_MILLISECONDS, Shell
from views.visit import COOKIE, Taste

from arbig.web.console_door import role_of

pn.extension(loading_indicator=False, notifications=False)
pn.config.design = pn.theme.Design  # the parts bring their own styles; Panel's would be read anew in each of them

context = pn.state.curdoc.session_context
shell = Shell(
    shared_board(),
    Taste.of(pn.state.cookies.get(COOKIE), str(pn.state.headers.get("Accept-Language", ""))),
    role=role_of(context.request),
    page=pn.state.session_args.get("page", [b"overview"])[0].decode(errors="replace"),
)


def refresh() -> None:
    """Nothing is made for a tab that is closed, or away for the moment."""
    if context.session.connection_count:
        shell.refresh()


# The browser's own document must be complete before the first change is sent to it.
pn.state.onload(lambda: pn.state.add_periodic_callback(refresh, period=LOOK_MILLISECONDS))
shell.template().servable(title="ARBIG")
# The page itself is made while the browser reads the libraries it is drawn with.
pn.state.curdoc.add_next_tick_callback(shell.open)
