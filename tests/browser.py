"""Checks for every page: no request elsewhere, no message, no axe violation, no horizontal scrolling."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page


@dataclass
class Watched:
    """A page, with its console messages and requests."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def check(self, own: str) -> None:
        """Check messages and requests. own: prefix of every address that may be requested."""
        assert self.messages == []
        assert [each for each in self.requests if not each.startswith((own, "data:", "blob:"))] == []

    def violations(self) -> list[str]:
        """Return the violations that axe-core reports, WCAG 2.2 AA and its best practices."""
        violations = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {each['help']} ({', '.join(str(node['target']) for node in each['nodes'][:4])})"
            for each in violations
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
    watch = Watched(page)
    page.on("console", lambda message: watch.messages.append(message.text))
    page.on("pageerror", lambda error: watch.messages.append(str(error)))
    page.on("request", lambda request: watch.requests.append(request.url))
    try:
        yield watch
    finally:
        context.close()
