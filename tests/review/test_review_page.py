"""The page in headless Chromium: keyboard alone, a phone, many pictures, a server that is killed."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.datasets.corrections import CorrectionFile
from tests.review.conftest import Reviewed
from tests.serve.conftest import CODE
from tests.serve.test_page import CONTRAST, SMALL

pytestmark = pytest.mark.slow

FILE = Path("data/corrections.csv")


@contextlib.contextmanager
def review(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Starts the server in the project's folder, waits till it answers, and ends it."""
    command = [sys.executable, "-c", CODE, "review", "--port", "0", "--who", "Ann", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ, text=True) as process:
        assert process.stderr is not None
        try:
            line = next((line for line in process.stderr if "http://" in line), "")
            address = re.search(r"http://\S+", line)
            assert address, line
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield address.group(), process
        finally:
            process.kill()
            process.wait(60)


def open_page(browser: Any, url: str, faults: list[str], **options: Any) -> Any:
    page = browser.new_page(**options)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: None if r.url.startswith((url, "data:")) else faults.append(r.url))
    page.goto(url)
    page.wait_for_selector("#near img")
    return page


def decided(page: Any, count: int) -> None:
    page.wait_for_selector(f"#progress:has-text('{count} of 902 decided')")


def test_by_keyboard_alone_and_no_decision_is_lost(reviewed: Reviewed, browser: Any) -> None:
    faults: list[str] = []
    with review() as (url, process):
        page = open_page(browser, url, faults, viewport={"width": 1280, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        keys = page.keyboard
        names = []
        for number, press in enumerate(["7", "Enter", "-", "Delete"], 1):
            names.append(page.inner_text("#name"))
            keys.press(press)
            decided(page, number)
        keys.press(" ")  # skipped
        page.wait_for_function("before => document.querySelector('#name').textContent !== before", arg=names[-1])
        keys.press("/")
        keys.type("new one")
        keys.press("Enter")  # a typing mistake makes no class
        keys.press("Shift+Enter")
        decided(page, 5)
        keys.press("Control+z")
        decided(page, 4)
        rows = CorrectionFile(FILE).rows()
        assert [str(row.decision) for row in rows] == ["label", "accept", "none", "remove", "new-class", "undo"]
        assert (rows[0].new, rows[4].new, rows[0].who) == ("7", "new one", "Ann")
        process.kill()
        process.wait(60)
        keys.press("Delete")
        page.wait_for_selector("#fault:has-text('Not saved')")
        page.close()
    assert len(CorrectionFile(FILE).rows()) == 6
    faults = [fault for fault in faults if "ERR_CONNECTION" not in fault]
    with review() as (url, _):
        page = open_page(browser, url, faults, viewport={"width": 1280, "height": 900})
        decided(page, 4)
        page.reload()
        decided(page, 4)
        page.keyboard.press("Control+z")
        decided(page, 3)
        page.close()
    assert faults == []


def test_on_a_phone_and_many_at_once(reviewed: Reviewed, browser: Any) -> None:
    faults: list[str] = []
    with review() as (url, _):
        page = open_page(browser, url, faults, viewport={"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate(SMALL) == 0
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(CONTRAST) == []
        page.click("#mode")
        page.wait_for_selector("#cells li img")
        assert page.locator("#cells li").count() == 60
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.locator("#cells li").nth(3).click()
        page.locator("#cells li").nth(5).click()
        page.click("[data-do=remove]")
        decided(page, 2)
        page.focus("#cells")
        page.keyboard.press("Control+a")
        page.keyboard.press("Enter")
        decided(page, 60)
        page.keyboard.press("Control+z")
        decided(page, 2)
        assert page.evaluate(CONTRAST) == []
        page.close()
    assert faults == []
