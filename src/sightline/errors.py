"""Faults that the user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Something outside the program is wrong. The message is one line that names the thing and the remedy."""
