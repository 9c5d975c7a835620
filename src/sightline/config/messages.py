"""One-line messages about a configuration: the key, what is wrong, and what is allowed."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from sightline.core.errors import ConfigError


def options_in(folder: Path) -> list[str]:
    """Returns the options of a choice; an empty list if `folder` does not exist in `conf/`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def no_option(key: str, given: Any, options: list[str]) -> ConfigError:
    """Returns the error for an option that does not exist for a choice."""
    return ConfigError(f"{key}: no option {given!r}; {_allowed(str(given), options)}")


def unknown_key(key: str, known: list[str]) -> ConfigError:
    """Returns the error for a key that does not exist in `conf/`."""
    return ConfigError(f"{key}: unknown key; {_allowed(key.rpartition('.')[2], known)}")


def _allowed(given: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(given, allowed, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"allowed: {', '.join(allowed)}"


def one_line(error: Exception) -> str:
    """Returns the line of a Hydra or OmegaConf error that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(("full_key:", "object_type="))), type(error).__name__)
