"""Logging of `sightline` to a terminal: notes on standard output, warnings on standard error, as plain lines.

Library code logs with `logging.getLogger(__name__)`. The stage scripts and the `sightline` command call `configure`; a
notebook, or a program that uses the package as a library, configures logging itself.
"""

from __future__ import annotations

import logging
import sys

from sightline.core import credentials, progress

ROOT = "sightline"
"""Name of the parent logger of all modules."""


class TerminalHandler(logging.Handler):
    """Writes each record as a line of its own, with credentials masked, above a progress bar if one is shown.

    Errors while writing, such as a full disk, are raised to the caller, as for any other output.
    """

    def emit(self, record: logging.LogRecord) -> None:
        # Outside a stage, standard output may be a table that is piped to another program.
        counts = record.name == progress.__name__ and not progress.in_stage()
        aside = record.levelno >= logging.WARNING or counts
        stream = sys.stderr if aside else sys.stdout  # looked up now, because tests replace them
        line = credentials.mask(self.format(record))
        progress.write_line(line, stream)


def configure(level: int = logging.INFO) -> None:
    """Shows the records of `sightline.*` from `level` on; calling it twice adds no second handler.

    Records are not passed on to the root logger, whose handlers Hydra sets up for the libraries.
    """
    logger = logging.getLogger(ROOT)
    if not any(isinstance(handler, TerminalHandler) for handler in logger.handlers):
        logger.addHandler(TerminalHandler())
    logger.setLevel(level)
    logger.propagate = False
