"""Progress of long work, in one style: one line that moves on a terminal or in a notebook, a log line elsewhere.

A command that takes long opens a `stage`; what it calls says by `step` what begins, and counts by `track` or
`Progress`. On a terminal and in a notebook all of these share the last line. In a pipe or a file a step is a line when
it begins, and a count is one every `_INTERVAL` seconds in which nothing else was said.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TextIO, TypeVar

from sightline.core.text import for_terminal

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PATIENCE = 2.0  # seconds until a count is shown
_INTERVAL = 15.0  # seconds between the lines of a count, where there is no terminal
_NOTEBOOK_WIDTH = 100  # characters


class _TerminalState:
    """State of this process: the stage that runs, its step and the line of it, and when a line was last written."""

    stage = ""
    step = ""
    line: tqdm[None] | None = None
    written = 0.0
    silent = False


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Names the work that steps and counts belong to; within another stage it changes nothing."""
    if _TerminalState.stage:
        yield
        return
    _TerminalState.stage = name
    try:
        yield
    finally:
        _hide_step()
        _TerminalState.stage = _TerminalState.step = ""


def silence() -> None:
    """Shows nothing from now on: in a worker, whose lines would mix with those of the process that it works for."""
    _TerminalState.silent, _TerminalState.stage, _TerminalState.step, _TerminalState.line = True, "", "", None


def in_stage() -> bool:
    """Says whether a stage is open."""
    return bool(_TerminalState.stage)


def step(name: str) -> None:
    """Says what a stage does from now on ("": what has lines of its own); nothing where no stage is open."""
    if not _TerminalState.stage:
        return
    _hide_step()
    _TerminalState.step = name
    if name and _is_drawn():
        _show_step()
    elif name:
        _say(_title(""))


def track(
    items: Iterable[T], name: str, total: float | None = None, unit: str = "images", each: float = 1
) -> Iterator[T]:
    """Yields `items`, and shows their count and speed once they have taken more than two seconds.

    Args:
        items: The work.
        name: In a word.
        total: Of the units, where known.
        unit: The noun for one of what is counted.
        each: Number of units that an item counts for.
    """
    with Progress(name, total, unit) as progress:
        for item in items:
            yield item
            progress.advance(each)


class Progress:
    """A count that is shown once it has taken more than two seconds, with its speed and the time that is left.

    Args:
        name: Of what is counted, in a word.
        total: Of the units, where known.
        unit: The noun for one of what is counted.
        done: Units that were done before, as of a training that goes on: no time was spent on them.
    """

    def __init__(self, name: str, total: float | None = None, unit: str = "images", done: float = 0) -> None:
        self._name = name
        self._total = total
        self._unit = unit
        self._before = self._done = done
        self._began = time.monotonic()
        self._note: str | None = None
        self._drawn = _is_drawn()
        self._bar: tqdm[None] | None = None

    def advance(self, units: float) -> None:
        """Counts units that are done."""
        self.to(self._done + units)

    def to(self, done: float, name: str | None = None, note: str | None = None) -> None:
        """Sets how many units are done.

        Args:
            done: Units, from the beginning.
            name: Another name, where that changes.
            note: The text in place of the count.
        """
        done = done if self._total is None else min(done, self._total)  # the last may be less than a whole one
        self._name, self._note, step, self._done = name or self._name, note, done - self._done, done
        now = time.monotonic()
        if not self._drawn:
            if now - max(_TerminalState.written, self._began) > _INTERVAL:
                _say(f"{_title(self._name)}: {self._state(now)}")
        elif self._bar is not None:
            self._bar.desc, self._bar.bar_format = _title(self._name), self._form(now)
            self._bar.update(step)
        elif now - self._began > _PATIENCE:
            _hide_step()
            self._bar = _bar(_title(self._name), self._total, self._form(now), done)

    def close(self) -> None:
        """Takes the line away."""
        if self._bar is not None:
            self._bar.close()
            _show_step()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _form(self, now: float) -> str:
        return ("{desc}: " if self._total is None else "{desc} |{bar}| ") + self._state(now)

    def _state(self, now: float) -> str:
        """Returns the count, or what is shown in its place, the mean speed, and the time that is left."""
        rate = (self._done - self._before) / max(now - self._began, 1e-9)
        of = "" if self._total is None else f" of {self._total:,.0f}"
        parts = [self._note or f"{self._done:,.0f}{of}", f"{rate:,.{0 if rate >= 10 else 1}f} {self._unit}/s"]
        if self._total is not None and rate:
            minutes, seconds = divmod(round((self._total - self._done) / rate), 60)
            hours, minutes = divmod(minutes, 60)
            parts.append(f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left")
        return ", ".join(parts)


def write_line(line: str, stream: TextIO) -> None:
    """Writes a line to standard output or standard error, above the line of progress that is being shown."""
    line = for_terminal(line)
    if "tqdm" in sys.modules:  # else there is none
        from tqdm import tqdm

        tqdm.write(line, file=stream)
    else:
        print(line, file=stream)
    stream.flush()
    _TerminalState.written = time.monotonic()


def _is_drawn() -> bool:
    """Says whether standard error is a terminal, or the output of a notebook's cell, which takes a bar as well."""
    return not _TerminalState.silent and (sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel."))


def _say(line: str) -> None:
    _TerminalState.written = time.monotonic()
    if not _TerminalState.silent:
        _log.info(line)


def _title(name: str) -> str:
    """Returns what a line begins with: stage, step, and what is counted in it."""
    name = ", ".join(filter(None, (_TerminalState.step, name)))
    return f"{_TerminalState.stage}: {name}" if _TerminalState.stage else name


def _show_step() -> None:
    if _TerminalState.step:
        _TerminalState.line = _bar(_title("")[: shutil.get_terminal_size().columns - 5], None, "{desc} ...")


def _hide_step() -> None:
    if _TerminalState.line is not None:
        _TerminalState.line.close()
        _TerminalState.line = None


def _bar(title: str, total: float | None, form: str, done: float = 0) -> tqdm[None]:
    from tqdm import tqdm  # here: most runs have no terminal

    tqdm.monitor_interval = 0  # no thread of its own, which a process that forks must not have
    size = shutil.get_terminal_size()  # some terminals say that they have none, and tqdm would show nothing there
    return tqdm(
        desc=title,
        total=total,
        file=sys.stderr,
        initial=done,
        bar_format=form,
        leave=False,
        ncols=size.columns if sys.stderr.isatty() else _NOTEBOOK_WIDTH,
        nrows=size.lines,
    )
