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

SEAL = "sha256"
"""Name of the manifest's own digest in it."""

MODELS = {"fp32": MODEL, "int8": INT8_MODEL}
"""The forms of a bundle's network; the first is always present."""

INPUT, OUTPUT, NOVELTY = "images", "probabilities", "novelty"
"""Names of the network's input and outputs; not every bundle has `novelty`."""

BATCH_SIZE = 64
"""Images per run of the network: enough to amortise its overhead, few enough for photographs to fit in memory."""

FORMAT = 2
"""Format version, increased when older readers can no longer use a bundle."""
READABLE = (1, FORMAT)
"""Supported formats; version 1 has neither novelty detection nor prediction sets."""


def write_manifest(
    folder: Path,
    lineage: dict[str, Any],
    default: str = "fp32",
    parity: dict[str, Any] | None = None,
    extension: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Writes the manifest of all files in `folder`.

    Args:
        folder: The bundle.
        lineage: Its origin, as reproducible JSON values.
        default: The form of the network, of `MODELS`, that predicts by default.
        parity: The result of the parity check, as reproducible JSON values.
        extension: For an extended bundle, the added classes (`pictures` of each), as reproducible JSON values.

    Returns:
        The manifest.
    """
    parts = {
        path.name: {"bytes": path.stat().st_size, "sha256": files.sha256_file(path)}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    content = {"format": FORMAT, "files": parts, "default": default, "lineage": lineage, "proof": parity or {}}
    content = sealed(content | ({"extension": extension} if extension else {}))
    files.write_json(folder / MANIFEST, content)
    return content


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """Returns a manifest with the digest of all else that it holds, by which damage to itself is noticed."""
    rest = {name: value for name, value in content.items() if name != SEAL}
    return {**rest, SEAL: files.sha256(files.canonical_json(rest).encode())}


def verify_files(folder: Path) -> dict[str, Any]:
    """Checks every file of a bundle against its manifest.

    Returns:
        The manifest.

    Raises:
        UserError: If this is not a bundle, or it is damaged, incomplete or too new.
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
        if Path(name).name != name:  # names must not point outside the bundle
            raise _damaged(folder, f"{MANIFEST} lists {name!r}")
        try:
            actual = files.sha256_file(folder / name)
        except OSError as error:
            raise fault(error) or _damaged(folder, f"{name}: {error.strerror}") from None
        except ValueError:  # a NUL, half of a surrogate pair
            raise _damaged(folder, f"{MANIFEST} lists {name!a}, not a valid file name") from None
        if actual != expected:
            raise _damaged(folder, f"{name} is not the file that was exported")
    if not _is_as_sealed(manifest):
        raise _damaged(folder, f"{MANIFEST} is not the file that was exported")
    return manifest


def _is_as_sealed(manifest: dict[str, Any]) -> bool:
    try:
        return SEAL not in manifest or manifest == sealed(manifest)  # older versions wrote none
    except ValueError:  # an infinite number, half of a surrogate pair: nothing that was written
        return False


def unlisted(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Returns the entries of a bundle's folder that are not in its manifest, sorted."""
    return sorted(path.name for path in folder.iterdir() if path.name not in {MANIFEST, *manifest["files"]})


def read_verified(folder: Path, manifest: dict[str, Any], name: str) -> bytes:
    """Returns the content of a verified bundle's file, checked again so that exactly the verified content is used."""
    data = (folder / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest["files"][name]["sha256"]:
        raise _damaged(folder, f"{name} has just changed")
    return data


def _damaged(folder: Path, reason: str) -> UserError:
    return UserError(f"{folder} is damaged: {reason}; copy the bundle again, or export it again")
