"""Faults that the user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Something outside the program is wrong. The message is one line that names the thing and the remedy."""


class ConfigError(UserError):
    """A configuration that cannot be used: the key, what is wrong, what is allowed."""
