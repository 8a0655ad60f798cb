"""The console, as `panel serve dashboards/console.py` runs it. Started by `python -m arbig.web.console`."""

import panel as pn
from views.board import shared_board
from views.page import LOOK_MILLISECONDS, Page

pn.extension(loading_indicator=False, notifications=False)

page = Page(shared_board())
# The browser's own document must be complete before the first change is sent to it.
pn.state.onload(lambda: pn.state.add_periodic_callback(page.refresh, period=LOOK_MILLISECONDS))
page.template().servable(title="ARBIG")
