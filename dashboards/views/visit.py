"""Visit: who looks at the console in one browser tab, in which language and colours, and what they may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from panel.viewable import Viewable
from theme import Palette, palette
from views.board import Board
from views.watch import Watch, watch_of
from views.words import Language, Words

from arbig.client.client import ClientError

COOKIE = "arbig_console"
TRADER = "trader"


@dataclass(frozen=True, slots=True)
class Taste:
    """What a browser remembers of its owner, as the words of one cookie: `zh dark west`."""

    language: Language = "en"
    dark: bool = False
    west: bool = False

    @staticmethod
    def of(cookie: str | None, languages: str = "") -> Taste:
        """At the first visit the browser's own language counts."""
        if cookie is None:
            return Taste("zh" if languages.lower().startswith("zh") else "en")
        worn = cookie.split(".")
        return Taste("zh" if "zh" in worn else "en", "dark" in worn, "west" in worn)

    @property
    def classes(self) -> str:
        return " ".join(name for name, worn in (("dark", self.dark), ("west", self.west)) if worn)


@dataclass
class Visit:
    """What every page is given. A language or a colour that changes makes the pages anew, so it is fixed here."""

    board: Board
    taste: Taste
    role: str
    say: Callable[[str, bool], None]
    """Show a sentence at the foot of the page; an error stays until it is put away."""
    go: Callable[[str], None] = field(default=lambda name: None)
    """Open another page."""

    @property
    def language(self) -> Language:
        return self.taste.language

    @property
    def watch(self) -> Watch:
        """What is asked over HTTP while a page looks at it."""
        return watch_of(self.board)

    @property
    def palette(self) -> Palette:
        return palette(self.taste.dark, self.taste.west)

    @property
    def may_trade(self) -> bool:
        return self.role == TRADER

    def words(self, texts: Mapping[str, tuple[str, str]] | None = None) -> Words:
        """The console's texts, and a page's own before them."""
        return Words(self.language, texts or {})

    def do(self, deed: Callable[[], Awaitable[object]], done: str = "") -> None:
        """What a person pressed. A refusal is shown as it was said; a viewer presses in vain."""
        if not self.may_trade:
            self.say(self.words()("viewer_only"), True)
            return
        self.board.spawn(self._doing(deed, done))

    async def _doing(self, deed: Callable[[], Awaitable[object]], done: str) -> None:
        try:
            await deed()
        except ClientError as error:
            self.say(str(error), True)
        else:
            self.say(done, False)


class Page(Protocol):
    """One page of the console. It is made when it is first opened, and refreshed while it is the open one."""

    name: str
    """Of `?page=` and of its title in `words.py`."""
    panel: Viewable

    def __init__(self, visit: Visit) -> None: ...

    def refresh(self) -> None:
        """Four times a second: send the browser what is new."""


class Changes:
    """What a page has drawn so far: `changed` is true once for each new state."""

    def __init__(self) -> None:
        self._seen: dict[str, object] = {}

    def changed(self, part: str, *state: object) -> bool:
        if self._seen.get(part) == state:
            return False
        self._seen[part] = state
        return True
