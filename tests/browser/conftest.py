"""A headless Chromium that reports what is wrong with a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.servers.processes import browser_program
from tests.stages.evaluate.conftest import config, digits, history, hostile, make_set, model

__all__ = ["config", "digits", "history", "hostile", "make_set", "model"]

FOUR_VIEWS = [
    pytest.mark.slow,
    # Of the four, those that differ in both; the others with --full.
    pytest.mark.parametrize(
        ("width", "scheme"),
        [
            (390, "light"),
            (1280, "dark"),
            pytest.param(390, "dark", marks=pytest.mark.full),
            pytest.param(1280, "light", marks=pytest.mark.full),
        ],
    ),
]

LOADED = "[...document.images].map(i => i.complete && i.naturalWidth > 0)"
OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
# Only tables, wide pictures and the list of sections may scroll, each in its own frame.
WIDE = """[...document.body.querySelectorAll('*')].filter(e => !e.closest('.scroll, .frame, nav')
  && e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""


@dataclass
class Seen:
    """What happened on a page: console messages and errors, requests, pictures (loaded or not), horizontal overflow."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    pictures: list[bool] = field(default_factory=list)
    overflow: int = 0
    wide: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")  # while it is open, its event loop runs, and no other can
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    chromium = browser_program()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def look(browser: Any) -> Callable[[Path, int, str], Seen]:
    """Returns a function that opens a page with a width in CSS pixels and a colour scheme, with everything unfolded."""

    def open_page(page: Path, width: int, scheme: str) -> Seen:
        seen = Seen()
        tab = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        tab.on("console", lambda message: seen.complaints.append(message.text))
        tab.on("pageerror", lambda error: seen.complaints.append(str(error)))
        tab.on("request", lambda request: seen.requests.append(request.url))
        tab.goto(page.as_uri())
        for folded in tab.query_selector_all("details:not([open]) > summary"):
            folded.click()
        tab.wait_for_function("[...document.images].every(i => i.complete)")
        seen.pictures, seen.overflow, seen.wide = tab.evaluate(LOADED), tab.evaluate(OVERFLOW), tab.evaluate(WIDE)
        tab.close()
        return seen

    return open_page
