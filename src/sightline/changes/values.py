"""Values of nested settings by dotted name, and as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def by_dotted_name(values: Any, prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested mappings by dotted name."""
    if isinstance(values, Mapping) and (values or not prefix):
        return {
            k: v
            for key, value in values.items()
            for k, v in by_dotted_name(value, f"{prefix}.{key}".lstrip(".")).items()
        }
    return {prefix: values}


def yaml_text(value: Any) -> str:
    """Returns a value of params.yaml as text."""
    return "null" if value is None else json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
