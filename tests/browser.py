"""What every page must stand: no request abroad, no message, no axe violation, no sideways scrolling."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page


@dataclass
class Watched:
    """A page, with what it said and where it went."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def check(self, own: str) -> None:
        """own: how every address that it may ask begins."""
        assert self.said == []
        assert [each for each in self.asked if not each.startswith((own, "data:", "blob:"))] == []

    def violations(self) -> list[str]:
        """What axe-core finds, WCAG 2.2 AA and its best practices."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {each['help']} ({', '.join(str(node['target']) for node in each['nodes'][:4])})"
            for each in found
        ]

    def sideways(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(
            self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )


@contextlib.contextmanager
def watched(browser: Browser, width: int = 1280, scheme: str = "light", **options: Any) -> Iterator[Watched]:
    """A new page in a window of that width."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
        **options,
    )
    page = context.new_page()
    found = Watched(page)
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("request", lambda request: found.asked.append(request.url))
    try:
        yield found
    finally:
        context.close()
