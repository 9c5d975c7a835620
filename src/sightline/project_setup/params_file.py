"""The project's params.yaml: one line for each chosen setting, with the reason as a comment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sightline.config.params import Plain
from sightline.project_setup.choice import Choice
from sightline.sweep.params_comments import REASONED

_HEAD = f"""\
# The settings of this project: the one file to edit; then: dvc repro
{REASONED} after inspecting the images; each line says why. README.md says how to see all others.
"""
_REST = {
    "ingest": {"limit": Choice(None, "maximum number of images")},
    "preprocess": {
        "backend": Choice("processes", "where preprocessing runs"),
        "fold": Choice(None, '"1 of 5": the first of five folds is the test split'),
    },
    "train": {
        "optimizer": Choice("adamw", "needs little tuning"),
        "loss": Choice("cross_entropy", "the right choice unless there is a reason against it"),
        "mix": Choice("none", "mixup, cutmix: for long trainings"),
        "trainer": Choice("auto", "the device"),
        "debug": Choice("none", "short runs to find a problem"),
        "seed": Choice(0, "seed of all randomness"),
    },
    "evaluate": {"gallery": Choice(24, "worst errors to show in the report")},
    "export": {"parity_images": Choice(1000, "images on which the exported model must match the trained one")},
    "promote": {"min_accuracy": Choice(0.8, "minimum test accuracy to become the champion")},
}
_SECTIONS = ("ingest", "preprocess", "baseline", "train", "evaluate", "export", "promote")


def params_text(chosen: Mapping[str, Choice]) -> str:
    """Returns the file's content.

    Args:
        chosen: The choices by key, such as `train.lr`; those whose value is an empty mapping are left out.
    """
    parts = [_HEAD]
    for section in _SECTIONS:
        rows = {key.partition(".")[2]: choice for key, choice in chosen.items() if key.startswith(f"{section}.")}
        rows = {key: choice for key, choice in {**rows, **_REST.get(section, {})}.items() if choice.value != {}}
        parts.append(f"{section}:\n" + "".join(_line(key, choice) for key, choice in rows.items()))
    return "\n".join(parts)


def _line(key: str, choice: Choice) -> str:
    return f"{f'  {key}: {_yaml(choice.value)}':<34}  # {' '.join(choice.reason.split())}\n"


def _yaml(value: Any) -> str:
    """Returns a value as YAML 1.2 in one line; strings are quoted if needed."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(child)}" for key, child in value.items()) + "}"
    if isinstance(value, Plain):
        return value.text  # specified by the user: kept verbatim
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, str) and value.isidentifier() and value.lower() not in ("null", "true", "false"):
        return value
    return json.dumps(value, ensure_ascii=False)
