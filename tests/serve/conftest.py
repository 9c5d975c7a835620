"""A server of a small bundle in a separate process, on a real socket; and a browser."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import bundles
from tests.servers.processes import browser_program

CODE = "from sightline.cli import app; app()"
COMMAND = [sys.executable, "-c", CODE, "serve"]


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        url: Its address.
        process: Its process.
        bundle: The bundle that it serves.
        log: Its output so far.
    """

    url: str
    process: subprocess.Popen[str]
    bundle: Path
    log: list[str]


@contextlib.contextmanager
def serve(bundle: Path, *arguments: str, key: str = "", code: str = CODE) -> Iterator[Served]:
    """Starts a server, waits until it answers, and finally ends it."""
    environment = {**os.environ, "SIGHTLINE_API_KEY": key}
    command = [sys.executable, "-c", code, "serve", str(bundle), "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stderr is not None
        log = [process.stderr.readline()]
        try:
            address = re.search(r"http://\S+", log[0])
            assert address, log[0] + process.stderr.read()
            # Its output must be read, or it would block once the pipe is full.
            reader = threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True)
            reader.start()
            yield Served(address.group(), process, bundle, log)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)


@pytest.fixture(scope="session")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of Fashion-MNIST."""
    return bundles.quick("fashion-mnist", tmp_path_factory.mktemp("clothes") / "bundle")


@pytest.fixture(scope="session")
def server(clothes: Path) -> Iterator[Served]:
    with serve(clothes) as served:
        yield served


@pytest.fixture(scope="module")  # while it is open, its event loop runs, and no other can
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    api = pytest.importorskip("playwright.sync_api")
    path = browser_program()
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path,
            args=["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        )
        yield chromium
        chromium.close()
