"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import forked

if TYPE_CHECKING:
    from tests.exported import Project

ROOT = Path(__file__).parents[1]

# The test workers share the cores: computations use one thread unless they set a number, and waiting threads do not
# spin on a core that another worker could use. Libraries read these variables when they are imported.
for name, value in {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}.items():
    os.environ.setdefault(name, value)

# Absolute, since a test may change the working directory.
os.environ.setdefault("SIGHTLINE_SHARED_DATA", str(ROOT.parent / "shared" / "data"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the flag that includes the slowest tests."""
    parser.addoption("--full", action="store_true", help="run the tests marked full, the slowest, as well")


def pytest_configure(config: pytest.Config) -> None:
    """Chooses how commands are run, and makes garbage collection rarer, since it has to scan a million objects."""
    forked.enabled = sys.platform == "linux" and not config.getoption("--full")
    gc.set_threshold(20_000, 20, 20)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects the slowest tests, unless `--full` is given."""
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Prints, as the last line but one, how many tests were skipped, and why."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if skipped:
        why = "; ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
        terminalreporter.write_line(f"{len(skipped)} skipped, because {why}")


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Restores the logger after a stage or command that ran in this process has configured it."""
    logger = logging.getLogger("sightline")
    before = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of this project's configuration in a temporary folder, which becomes the working directory."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def exported() -> Project:
    """A project with a bundle made by the stages; tests must not modify it."""
    from tests.exported import make_project

    return make_project()
