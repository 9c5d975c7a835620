"""A bundle's manifest: its files, the digest of each, their lineage, and the result of the parity check."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.core.errors import UserError, fault
from sightline.core.json_fields import field, parse_object

MANIFEST = "manifest.json"
MODEL = "model.onnx"
INT8_MODEL = "model.int8.onnx"
CALIBRATION = "calibration.json"
TRANSFORM = "contract.json"
CLASSES = "classes.json"
CARD = "model_card.md"
REFERENCE = "reference.npz"
CONFORMAL = "conformal.npz"

MODELS = {"fp32": MODEL, "int8": INT8_MODEL}
"""The forms that a bundle's network comes in; the first is always there."""

INPUT, OUTPUT, NOVELTY = "images", "probabilities", "novelty"
"""Names of the network's input and outputs; `novelty` is not in every bundle."""

BATCH_SIZE = 64
"""Images per run of the network: enough to amortise its overhead, few enough for photographs to fit in memory."""

FORMAT = 2
"""Raised when an older reader could no longer use the bundle."""
READABLE = (1, FORMAT)
"""Formats that are read: 1 tells no novel images, and has no sets of classes."""


def write_manifest(
    folder: Path,
    lineage: dict[str, Any],
    default: str = "fp32",
    parity: dict[str, Any] | None = None,
    extension: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes the manifest of all files that stand in `folder`.

    Args:
        folder: The bundle.
        lineage: Its origin: JSON values that depend on nothing but that.
        default: The form of the network, of `MODELS`, that predicts where none is asked for.
        parity: The result of the parity check; the same rule.
        extension: Of a bundle that was extended, not trained, what by (`pictures` of each new class); the same rule.

    Returns:
        The manifest.
    """
    parts = {
        path.name: {"bytes": path.stat().st_size, "sha256": files.sha256_file(path)}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    content = {"format": FORMAT, "files": parts, "default": default, "lineage": lineage, "proof": parity or {}}
    content |= {"extension": extension} if extension else {}
    files.write_json(folder / MANIFEST, content)
    return content


def verify_files(folder: Path) -> dict[str, Any]:
    """Checks every file of a bundle against its manifest.

    Returns:
        The manifest.

    Raises:
        UserError: If this is no bundle, or one that is damaged, incomplete or too new.
    """
    if not folder.exists():
        raise UserError(f"{folder}: no such folder; the export stage writes a bundle (models/bundle)")
    try:
        data = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} is not a bundle: it contains no {MANIFEST}; the export stage writes one") from None
    except OSError as error:
        raise fault(error) or UserError(f"{folder / MANIFEST}: {error.strerror}") from None
    try:
        manifest = parse_object(data)
        version, parts = field(manifest, "format", int), field(manifest, "files", dict)
        if version in READABLE:
            listed = {name: field(part, "sha256", str) for name, part in parts.items()}
    except ValueError as error:
        raise _damaged(folder, f"{MANIFEST} cannot be read ({error})") from None
    if version not in READABLE:
        raise UserError(
            f"{folder} has bundle format {version!r}, but this sightline reads formats up to {FORMAT}: update sightline"
        )
    if missing := {MODEL, CALIBRATION, TRANSFORM, CLASSES} - listed.keys():
        raise _damaged(folder, f"{MANIFEST} does not list {', '.join(sorted(missing))}")
    if not isinstance(manifest.get("lineage"), dict):
        raise _damaged(folder, f"{MANIFEST} has no lineage")
    for name, expected in listed.items():
        if Path(name).name != name:  # a manifest names its own files, and never one elsewhere
            raise _damaged(folder, f"{MANIFEST} lists {name!r}")
        try:
            actual = files.sha256_file(folder / name)
        except OSError as error:
            raise fault(error) or _damaged(folder, f"{name}: {error.strerror}") from None
        except ValueError:  # a NUL, half of a surrogate pair
            raise _damaged(folder, f"{MANIFEST} lists {name!a}, not a valid file name") from None
        if actual != expected:
            raise _damaged(folder, f"{name} is not the file that was exported")
    return manifest


def unlisted(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Returns what stands in a bundle's folder though its manifest does not know it, sorted."""
    return sorted(path.name for path in folder.iterdir() if path.name not in {MANIFEST, *manifest["files"]})


def read_verified(folder: Path, manifest: dict[str, Any], name: str) -> bytes:
    """Returns a file of a verified bundle, checked once more, so that what is used is what was verified."""
    data = (folder / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest["files"][name]["sha256"]:
        raise _damaged(folder, f"{name} has just changed")
    return data


def _damaged(folder: Path, reason: str) -> UserError:
    return UserError(f"{folder} is damaged: {reason}; copy the bundle again, or export it again")
