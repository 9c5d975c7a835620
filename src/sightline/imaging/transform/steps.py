"""The steps of the transform, in order, and their options read from plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

from sightline.config.schema import Option, Registry
from sightline.imaging.transform.clean import CLEAN
from sightline.imaging.transform.denoise import DENOISE
from sightline.imaging.transform.enhance import ENHANCE
from sightline.imaging.transform.resize import RESIZE
from sightline.imaging.transform.segment import SEGMENT

STEPS: dict[str, Registry[Any]] = {
    "clean": CLEAN,
    "denoise": DENOISE,
    "enhance": ENHANCE,
    "segment": SEGMENT,
    "resize": RESIZE,
}
"""The steps in execution order."""

OLD_NAMES = {("resize", "squash"): "stretch"}
"""Old option names in datasets and bundles, which can still be read: (step, old name) -> current name."""


def current_names(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the steps of a transform's JSON, with each option under its current name."""
    return {
        step: {**option, "name": OLD_NAMES.get((step, str(option.get("name"))), option.get("name"))}
        for step, option in steps.items()
    }


def parse_option(step: str, content: Mapping[str, Any]) -> Option:
    """Builds an option of `step` from plain data, strictly: a transform's JSON may come from anywhere.

    Raises:
        ValueError: For an unknown option, a missing or unknown key, a value of the wrong type or outside its range;
            the message begins with the key.
    """
    values = dict(content)
    schema = STEPS[step].get(str(values.get("name")))
    if schema is None:
        raise ValueError(f"{step}: no option {values.get('name')!r}; allowed: {', '.join(STEPS[step])}")
    types = get_type_hints(schema)
    if set(types) != set(values):
        raise ValueError(f"{step}: {values['name']!r} has the keys {', '.join(types)}, not {', '.join(values)}")
    for key, kind in types.items():
        if kind is float and type(values[key]) is int:
            values[key] = float(values[key])
        if type(values[key]) is not kind:
            raise ValueError(f"{step}.{key}: {values[key]!r} is not of type {kind.__name__}")
    try:
        option: Option = schema(**values)
    except ValueError as error:
        raise ValueError(f"{step}.{error}") from None
    return option
