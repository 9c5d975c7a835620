"""Lineage of a registered version: its data, commit, parameters and promotion."""

from __future__ import annotations

import json
from typing import Any

from sightline.core.errors import UserError
from sightline.tracking.find_run import all_settings
from sightline.tracking.model_registry import BUNDLE_TAG, PREFIX, ModelRegistry, Version

_MOST_HEAD, _MOST_PARAMETERS = 9, 6
_NARROW = 16  # characters of the first column: with a digest in the second, a line has 80
_MAIN_PARAMETERS = ("ingest.source.name", "ingest.path", "preprocess.size", "train.model.name", "train.lr")
_MAIN_METRICS = ("test_accuracy", "test_acc_low", "test_acc_high", "best_val_accuracy")

COMMIT, DIRTY, BRANCH = "mlflow.source.git.commit", "git.dirty", "git.branch"


def trace(registry: ModelRegistry, reference: str) -> dict[str, Any]:
    """Returns everything that is known about the origin of a version.

    Args:
        registry: The registered model's versions.
        reference: A version's number, or an alias.

    Returns:
        JSON values. Unknown values are None: the run may have been deleted, or made outside a git repository.
        `parameters` are all settings; `distinct_parameters` are the names of those that differ from the defaults.

    Raises:
        UserError: If there is no such version.
    """
    version = _find(registry, reference.removeprefix("@"))
    tags = version.tags
    run = registry.run(version)
    run_tags = run.data.tags if run else {}
    return {
        "model": registry.name,
        "version": version.number,
        "aliases": version.aliases,
        "bundle_sha256": tags.get(BUNDLE_TAG),
        "model_sha256": tags.get(f"{PREFIX}model_sha256"),
        "data_sha256": tags.get(f"{PREFIX}data_sha256"),
        "predictions_sha256": tags.get(f"{PREFIX}predictions_sha256"),
        "test_set_sha256": tags.get(f"{PREFIX}test_set_sha256"),
        "commit": run_tags.get(COMMIT),
        "branch": run_tags.get(BRANCH),
        "uncommitted_changes": {"true": True, "false": False}.get(run_tags.get(DIRTY, "")),
        "run_id": version.run_id,
        "run_name": run.info.run_name if run else None,
        "parameters": dict(sorted({**all_settings(run.info.run_id), **run.data.params}.items())) if run else None,
        "distinct_parameters": sorted(run.data.params) if run else None,
        "metrics": dict(sorted(run.data.metrics.items())) if run else None,
        "promotion": _promotion(tags),
    }


def _find(registry: ModelRegistry, reference: str) -> Version:
    if reference.isdecimal():
        return registry.by_number(int(reference))
    version = registry.by_alias(reference)
    if version is None:
        known = ", ".join(f"{alias} (version {number})" for alias, number in registry.aliases().items())
        there = known or "none yet; `sightline promote` registers a challenger, and where it passes a champion"
        raise UserError(f"the model {registry.name!r} has no version with the alias {reference!r}: there are {there}")
    return version


def _promotion(tags: dict[str, str]) -> dict[str, Any] | None:
    """Returns the recorded decision about the version; None if there is none."""
    if f"{PREFIX}decision" not in tags:
        return None
    plain = ("decision", "decided_by", "decided_at", "decided_against", "force_reason")
    record: dict[str, Any] = {name: tags.get(f"{PREFIX}{name}") or None for name in plain}
    return record | {name: json.loads(tags.get(f"{PREFIX}{name}") or "null") for name in ("reasons", "facts")}


def lineage_lines(traced: dict[str, Any]) -> list[str]:
    """Returns the most important parts of the lineage, in about a dozen lines."""
    whole = all_lines(traced, _NARROW)
    head = whole[: whole.index("parameters:")]
    aside = ("predictions_sha256", "test_set_sha256")  # not essential: the bundle's digest and the decision imply them
    text = [line for line in head if not line.startswith(aside)][:_MOST_HEAD]
    parameters, metrics = traced["parameters"] or {}, traced["metrics"] or {}
    shown = [name for name in _MAIN_PARAMETERS if name in parameters]
    shown += [name for name in traced["distinct_parameters"] or () if name not in shown]
    some = ", ".join(f"{name}={parameters[name]}" for name in shown[:_MOST_PARAMETERS])
    text.append(f"{'parameters':<{_NARROW}}{some or 'unknown'}")
    numbers = [f"{name} {_value(metrics[name])}" for name in _MAIN_METRICS if name in metrics]
    text.append(f"{'metrics':<{_NARROW}}{', '.join(numbers) or 'unknown'}")
    return [
        *text,
        f"{'more':<{_NARROW}}--all: {len(parameters)} parameters, {len(metrics)} metrics; --json: for a program",
    ]


def all_lines(traced: dict[str, Any], width: int = 20) -> list[str]:
    """Returns the human-readable lineage, one line per entry: the version, then its parameters and metrics.

    Args:
        traced: The lineage returned by `trace`.
        width: Width of the first column, in characters.
    """
    aliases = f" ({', '.join(traced['aliases'])})" if traced["aliases"] else ""
    digests = ("bundle_sha256", "model_sha256", "data_sha256", "predictions_sha256", "test_set_sha256")
    text = [
        f"{traced['model']} version {traced['version']}{aliases}",
        *(f"{name:<{width}}{traced[name] or 'unknown'}" for name in digests),
    ]
    changed = {True: ", with uncommitted changes", False: ", nothing uncommitted", None: ""}
    commit = traced["commit"] or "unknown"
    text.append(f"{'commit':<{width}}{commit}{changed[traced['uncommitted_changes']]}")
    run = f"{traced['run_id']} ({traced['run_name']})" if traced["run_name"] else f"{traced['run_id']}, deleted"
    text.append(f"{'run':<{width}}{run if traced['run_id'] else 'unknown'}")
    text += _promotion_lines(traced["promotion"], width)
    for section in ("parameters", "metrics"):
        text += [f"{section}:", *(f"  {name} = {_value(value)}" for name, value in (traced[section] or {}).items())]
    return text


def _promotion_lines(promotion: dict[str, Any] | None, width: int) -> list[str]:
    if promotion is None:
        return [f"{'decision':<{width}}none yet"]
    against = promotion["decided_against"]
    against = f"version {against}" if against.isdecimal() else against
    decision = f"{promotion['decision']} by {promotion['decided_by']} at {promotion['decided_at']}, against {against}"
    text = [f"{'decision':<{width}}{decision}", *(f"  - {reason}" for reason in promotion["reasons"] or [])]
    return [*text, f"{'forced because':<{width}}{promotion['force_reason']}"] if promotion["force_reason"] else text


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
