"""The vocabulary of configuration schemas; stands alone so that a schema costs nothing to import."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass
class Option:
    """Base of every option of a choice. `name` is the option's, and its file's, name."""

    name: str


def choice(options: Mapping[str, type[Option]]) -> Any:
    """Declares a field that holds one of `options`, by name: a folder of `conf/` with a file for each."""
    return dataclasses.field(metadata={"options": options})


def require(condition: bool, message: str) -> None:
    """Raises ValueError(message) unless `condition`: for range checks in `__post_init__`.

    Begin the message with the field's name; it is shown as `<stage>.<message>`.
    """
    if not condition:
        raise ValueError(message)


def require_one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError unless `value` is one of `allowed`, naming them."""
    require(value in allowed, f"{field}: {value!r} is not one of {', '.join(allowed)}")
