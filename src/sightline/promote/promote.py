"""Promotion of a bundle: registration, decision, and the champion's alias."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.core import files
from sightline.core.errors import UserError
from sightline.predict.signing import signature_of
from sightline.promote.candidate import Candidate, read_candidate
from sightline.promote.config import PromoteConfig
from sightline.promote.policy import Decision, decide
from sightline.tracking.model_registry import (
    BUNDLE,
    BUNDLE_TAG,
    CHALLENGER,
    CHAMPION,
    PREDICTIONS,
    PREFIX,
    ModelRegistry,
    Version,
    who,
)

PYFUNC_MODEL = Path(__file__).with_name("pyfunc_model.py")


@dataclass(frozen=True)
class Promotion:
    """The result of a promotion.

    Attributes:
        version: The bundle's version.
        replaced: The number of the previous champion; None if there was none, or it was not replaced.
        decision: The decision; None if the version was already the champion.
        promoted: Whether the version is now the champion.
        forced: Whether it was promoted despite the decision.
    """

    version: Version
    replaced: int | None
    decision: Decision | None
    promoted: bool
    forced: bool


def promote(
    bundle: Path,
    predictions: Path,
    policy: PromoteConfig,
    force_reason: str | None = None,
    objections: Sequence[str] = (),
) -> Promotion:
    """Registers a bundle, unless it is already registered, and makes it the champion if the policy allows it.

    Args:
        bundle: The bundle.
        predictions: Its model's predictions on the test split.
        policy: The requirements on it, and the name of the registered model.
        force_reason: If given, makes it the champion regardless of the decision; recorded with the user's name.
        objections: Further objections, such as to its data.

    Raises:
        UserError: If the files do not belong together, or MLflow cannot be used.
    """
    if force_reason is not None and not force_reason.strip():
        raise UserError("--force needs a --reason, which is recorded with the version")
    candidate = read_candidate(bundle, predictions)
    with files.waiting_lock("promote"):
        registry = ModelRegistry(policy.name)
        version = registry.by_bundle(candidate.digest) or _register(registry, bundle, predictions, candidate)
        registry.point(CHALLENGER, version)
        champion = registry.by_alias(CHAMPION)
        if champion is not None and champion.number == version.number:
            return Promotion(registry.by_number(version.number), None, None, promoted=True, forced=False)
        decision = _decide(registry, candidate, champion, policy).with_reasons(objections)
        forced = not decision.passed and force_reason is not None
        promoted = decision.passed or forced
        verdict = "promoted" if decision.passed else "forced" if forced else "held back"
        record = {
            "decision": verdict,
            "decided_by": who(),
            "decided_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "decided_against": str(champion.number) if champion else "no champion",
            "reasons": json.dumps(decision.reasons),
            "facts": json.dumps(decision.facts),
            "force_reason": force_reason if forced and force_reason else "",
        }
        # Recorded before the alias moves, so that no champion lacks its record.
        registry.record(version, {f"{PREFIX}{name}": value for name, value in record.items()})
        if promoted:
            registry.point(CHAMPION, version)
        replaced = champion.number if champion and promoted else None
        return Promotion(registry.by_number(version.number), replaced, decision, promoted, forced)


def rehearse(
    bundle: Path, predictions: Path, policy: PromoteConfig, objections: Sequence[str] = (), alone: bool = False
) -> Decision:
    """Decides as `promote` does, without registering anything.

    Args:
        bundle: The bundle.
        predictions: Its model's predictions on the test split.
        policy: The requirements on it.
        objections: As for `promote`.
        alone: Do not compare with the champion, so that MLflow is not needed.

    Raises:
        UserError: As for `promote`.
    """
    candidate = read_candidate(bundle, predictions)
    if alone:
        return decide(candidate.evidence, None, policy).with_reasons(objections)
    registry = ModelRegistry(policy.name)
    return _decide(registry, candidate, registry.by_alias(CHAMPION), policy).with_reasons(objections)


def _register(registry: ModelRegistry, bundle: Path, predictions: Path, candidate: Candidate) -> Version:
    tags = {BUNDLE_TAG: candidate.digest, f"{PREFIX}test_set_sha256": candidate.evidence.test_set}
    tags |= {f"{PREFIX}{name}": digest for name, digest in candidate.lineage.items()}
    with tempfile.TemporaryDirectory(prefix="sightline-promote-") as folder:
        parts = {"bundle": Path(folder, BUNDLE), "predictions": Path(folder, PREDICTIONS)}  # the names in the registry
        shutil.copytree(bundle, parts["bundle"])
        shutil.copy(predictions, parts["predictions"])
        if (signature := signature_of(bundle)).is_file():
            parts["signature"] = signature_of(parts["bundle"])
            shutil.copy(signature, parts["signature"])
        return registry.register(parts, PYFUNC_MODEL, candidate.lineage["model_sha256"], tags)


def _decide(registry: ModelRegistry, candidate: Candidate, champion: Version | None, policy: PromoteConfig) -> Decision:
    if champion is None:
        return decide(candidate.evidence, None, policy)
    with registry.files_of(champion) as folder:
        try:
            other = read_candidate(folder / BUNDLE, folder / PREDICTIONS).evidence
        except UserError as error:  # such as a bundle in another version's format; --force can still replace it
            return Decision((f"the champion, version {champion.number}, cannot be judged: {error}",))
    return decide(candidate.evidence, other, policy)


def outcome_lines(promotion: Promotion, name: str) -> list[str]:
    """Returns the human-readable result, one line per entry."""
    version = f"{name} version {promotion.version.number}"
    if promotion.decision is None:
        return [f"{version} is the champion already"]
    replaced = f", in place of version {promotion.replaced}" if promotion.replaced is not None else ""
    if promotion.forced:
        head = f"{version} is the champion by force{replaced}, in spite of:"
    elif promotion.promoted:
        head = f"{version} is the champion{replaced}"
    else:
        head = f"{version} is held back:"
    return [head, *promotion.decision.lines()]
