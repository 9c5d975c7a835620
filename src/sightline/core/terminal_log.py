"""The log of `sightline` on a terminal: notes on standard output, warnings on standard error, as plain lines.

Library code logs by `logging.getLogger(__name__)`. The stages' scripts and the `sightline` command call `configure`;
a notebook, or a program that uses the package as a library, sees what it configures itself.
"""

from __future__ import annotations

import logging
import sys

from sightline.core import columns, credentials, progress

ROOT = "sightline"
"""The logger above those of all modules."""


class TerminalHandler(logging.Handler):
    """Writes each record as a line of its own, without credentials, past a progress bar that is being shown.

    What the line cannot be written for, as a full disk, goes up to the caller like that of any other output.
    """

    def emit(self, record: logging.LogRecord) -> None:
        # Outside a stage the standard output may be a table that goes to another program.
        counts = record.name == progress.__name__ and not progress.in_stage()
        aside = record.levelno >= logging.WARNING or counts
        stream = sys.stderr if aside else sys.stdout  # now, since tests replace them
        line = credentials.mask(self.format(record))
        # A warning may end with a command, which is to be copied in one piece.
        progress.write_line(line if aside else columns.folded(line, columns.terminal_width()), stream)


def configure(level: int = logging.INFO) -> None:
    """Shows the records of `sightline.*` from `level` on; asked twice, it changes nothing.

    They do not go on to the root logger, whose handlers Hydra sets up for the libraries.
    """
    logger = logging.getLogger(ROOT)
    if not any(isinstance(handler, TerminalHandler) for handler in logger.handlers):
        logger.addHandler(TerminalHandler())
    logger.setLevel(level)
    logger.propagate = False
