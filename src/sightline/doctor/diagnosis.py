"""Diagnoses: the lines of an examination."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.Enum):
    """The weight of a finding: a `FAULT` stops a command, a `WARNING` costs time, space or trust."""

    GOOD = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Diagnosis:
    """One line of the examination.

    Attributes:
        level: Its weight.
        subject: The thing that was looked at.
        text: The finding.
        remedy: A command, or what else to do; empty where nothing is to be done.
    """

    level: Level
    subject: str
    text: str
    remedy: str = ""

    def line(self) -> str:
        """Returns it in words."""
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
