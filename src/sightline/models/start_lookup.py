"""Lookup of the model that a training starts from: the champion of MLflow's registry, or a folder.

`watch` does it at every `dvc repro` and keeps a copy in `.sightline/starts`. The original may be gone or have changed
when training begins, since DVC removes a stage's outputs before it runs the stage.
"""

from __future__ import annotations

from collections.abc import Mapping

from sightline.core import files
from sightline.core.errors import UserError, not_installed
from sightline.core.json_fields import field, parse_object
from sightline.core.project import located, project_root
from sightline.models.model_info import INFO, WEIGHTS, ModelInfo
from sightline.models.start_model import FOLDER, KEY, StartModel, kept

CHAMPION = "champion"
REGISTRY = "models:/"


def find_start(start_from: str, registered: str, pinned: str | None = None) -> StartModel:
    """Finds the model and keeps a copy of it.

    Args:
        start_from: The value of `train.start_from`: "champion", `models:/name@alias`, `models:/name/version`, or the
            folder of a trained model or of a bundle.
        registered: The registered model whose champion is used.
        pinned: Digest of the model that training last started from, on the same data. It is returned if the model
            found was itself trained from it, so that promoting the result does not make training run again.

    Raises:
        UserError: If there is no such model, or its weights cannot be found.
    """
    digest = _digest(start_from, registered)
    found = kept(digest) or _fetch(digest, start_from)
    if pinned and found.info.lineage.start.get("model_sha256") == pinned:
        return kept(pinned) or _fetch(pinned, start_from)
    return found


def _digest(start_from: str, registered: str) -> str:
    """Returns the digest of the weights of the model that `start_from` names."""
    if start_from == CHAMPION or start_from.startswith(REGISTRY):
        return _registered(f"{REGISTRY}{registered}@{CHAMPION}" if start_from == CHAMPION else start_from)
    folder = located(start_from)
    if (folder / INFO).is_file():
        return ModelInfo.read(folder / INFO).weights_sha256
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise UserError(f"{KEY}: {start_from} is neither champion nor the folder of a model or a bundle")
    try:
        return field(field(parse_object(manifest.read_bytes()), "lineage", dict), "model_sha256", str)
    except ValueError as error:
        raise UserError(f"{KEY}: {manifest} is damaged ({error}): copy the bundle again") from None


def _registered(uri: str) -> str:
    try:
        from sightline.tracking import registered_model
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None
    return registered_model.model_digest(uri, KEY)


def _fetch(digest: str, start_from: str) -> StartModel:
    """Copies a model to `.sightline/starts` from its folder, the parent folder of its bundle, or its MLflow run."""
    folder = located(start_from)
    for place in (folder, folder.parent):
        if (place / WEIGHTS).is_file() and (place / INFO).is_file() and files.sha256_file(place / WEIGHTS) == digest:
            return _keep(digest, {name: (place / name).read_bytes() for name in (WEIGHTS, INFO)})
    try:
        from sightline.tracking.find_run import model_files
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None
    found = model_files(digest, (WEIGHTS, INFO))
    if found is None:
        raise UserError(
            f"{KEY}: the weights of {start_from} ({digest[:8]}) are in no run of MLflow: run sightline sync where it "
            f"was trained, or set {KEY} to a folder that contains its {WEIGHTS} and {INFO}"
        )
    if files.sha256(found[WEIGHTS]) != digest:
        raise UserError(f"{KEY}: the weights of {start_from} in MLflow are damaged: train that model again")
    return _keep(digest, found)


def _keep(digest: str, content: Mapping[str, bytes]) -> StartModel:
    folder = project_root() / FOLDER / digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_directory(folder) as fresh:
        for name, data in content.items():
            files.write_bytes(fresh / name, data)
    return StartModel(digest, folder, ModelInfo.read(folder / INFO))
