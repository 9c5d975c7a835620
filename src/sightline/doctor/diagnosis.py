"""Diagnoses: the results of checks, one line each."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.Enum):
    """The severity of a finding: a `FAULT` makes a command fail, a `WARNING` costs time, space or trust."""

    GOOD = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check.

    Attributes:
        level: Its severity.
        subject: The thing that was checked.
        text: The finding.
        remedy: A command, or other advice; empty if there is nothing to do.
    """

    level: Level
    subject: str
    text: str
    remedy: str = ""

    def line(self) -> str:
        """Returns it as a line of text."""
        return f"{self.level.value:<8} {self.subject}: {self.text}" + (f": {self.remedy}" if self.remedy else "")


def good(subject: str, text: str) -> Diagnosis:
    """Returns a diagnosis that all is well."""
    return Diagnosis(Level.GOOD, subject, text)


def warning(subject: str, text: str, remedy: str) -> Diagnosis:
    """Returns a diagnosis that something could be better."""
    return Diagnosis(Level.WARNING, subject, text, remedy)


def fault(subject: str, text: str, remedy: str) -> Diagnosis:
    """Returns a diagnosis that something does not work."""
    return Diagnosis(Level.FAULT, subject, text, remedy)
