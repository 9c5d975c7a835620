"""The log on a terminal: plain lines in the right place, once, and nothing for a library's user."""

from __future__ import annotations

import errno
import logging
import logging.config
import os
import subprocess
import sys

import pytest

from sightline.core import terminal_log
from tests.core.test_progress import on_a_terminal

LOG = logging.getLogger("sightline.stages.train.fit")


def test_notes_and_warnings_are_plain_lines_in_their_places(capsys: pytest.CaptureFixture[str]) -> None:
    terminal_log.configure()
    terminal_log.configure()
    LOG.info("train: %d images", 5)
    LOG.warning("train: postgresql://me:pass@host/x is slow")
    LOG.debug("nobody asked")
    assert capsys.readouterr() == ("train: 5 images\n", "train: postgresql://***@host/x is slow\n")


def test_hydras_own_log_neither_doubles_nor_swallows(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger().handlers[:]
    terminal_log.configure()
    try:
        handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
        root = {"handlers": ["console"], "level": "WARNING"}
        logging.config.dictConfig({  # as hydra/job_logging: stdout
            "version": 1, "handlers": {"console": handler}, "root": root, "disable_existing_loggers": False,
        })  # fmt: skip
        LOG.info("one line")
        LOG.warning("and one")
    finally:
        logging.getLogger().handlers[:] = before
    assert capsys.readouterr() == ("one line\n", "and one\n")


def test_a_library_prints_nothing() -> None:
    code = "import logging, sightline; log = logging.getLogger('sightline.x'); log.warning('a'); log.info('b')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_full_disk_is_an_error_as_for_any_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    terminal_log.configure()
    monkeypatch.setattr(sys.stdout, "write", full)
    with pytest.raises(OSError, match="No space left"):
        LOG.info("a line")


def test_a_line_stands_above_the_bar() -> None:
    screen = on_a_terminal("""
import logging
import logging.config
from sightline.core import progress, terminal_log
progress._PATIENCE = 0
terminal_log.configure()
for i in progress.track(range(3), "reading", 3):
    logging.getLogger("sightline.x").info("line %d", i)
""")
    lines = screen.replace("\r\n", "\n").split("\n")
    for i in range(3):
        assert any(line.rpartition("\r")[2] == f"line {i}" for line in lines), screen
    assert "1 of 3" in screen
