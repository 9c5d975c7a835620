"""The pictures of README: the report of a project, and the server's page with one of its images.

    python benchmarks/doc_images.py PROJECT PHOTO

PROJECT has run to its end (docs/tutorial.md makes one); PHOTO is an image to classify. Writes `docs/images/report.png`,
a desktop's light view beside a phone's dark one, and `docs/images/page.png`. Needs Chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.servers.processes import browser_program, free_port

IMAGES = Path(__file__).parents[1] / "docs/images"
DESKTOP, PHONE, HEIGHT, GAP = 1160, 390, 860, 24  # px


@contextlib.contextmanager
def served(bundle: Path) -> Iterator[str]:
    """Serves a bundle, and yields the address of its page."""
    port = free_port()
    command = [Path(sys.executable).with_name("sightline"), "serve", str(bundle), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(300):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def report_picture(browser: Any, report: Path, folder: Path) -> Image.Image:
    """Returns the top of a report on a desktop, and its gallery on a phone in dark mode."""
    views = []
    for name, width, scheme, section in (("desktop", DESKTOP, "light", None), ("phone", PHONE, "dark", "#images")):
        tab = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
        tab.goto(report.as_uri() + (section or ""))
        tab.wait_for_timeout(500)
        tab.screenshot(path=str(folder / f"{name}.png"))
        tab.close()
        views.append(Image.open(folder / f"{name}.png").convert("RGB"))
    both = Image.new("RGB", (DESKTOP + GAP + PHONE, HEIGHT), "white")
    both.paste(views[0], (0, 0))
    both.paste(views[1], (DESKTOP + GAP, 0))
    return both


def page_picture(browser: Any, address: str, photo: Path, folder: Path) -> Image.Image:
    """Returns the server's page with one image, its classes and what the network looked at."""
    tab = browser.new_page(viewport={"width": 1000, "height": 1110})
    tab.goto(address)
    tab.set_input_files("#files", str(photo))
    tab.click("text=Why?")
    tab.wait_for_selector(".why img")
    tab.wait_for_timeout(500)
    tab.screenshot(path=str(folder / "page.png"))
    tab.close()
    return Image.open(folder / "page.png").convert("RGB")


def main() -> None:
    """Makes both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("photo", type=Path)
    arguments = parser.parse_args()
    project = arguments.project.resolve()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as scratch:
        browser = playwright.chromium.launch(executable_path=browser_program(), args=["--no-sandbox"])
        pictures = {"report.png": report_picture(browser, project / "reports/report.html", Path(scratch))}
        with served(project / "models/bundle") as address:
            pictures["page.png"] = page_picture(browser, address, arguments.photo.resolve(), Path(scratch))
        browser.close()
        for name, picture in pictures.items():
            picture.quantize(256, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
            print(IMAGES / name)


if __name__ == "__main__":
    main()
