"""Settings that a run was made with, as far as a commit or a folder records them."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.core import git


def commit_settings(commit: str) -> dict[str, str]:
    """Returns the settings from a commit's `params.yaml` and `conf/`; empty if they cannot be read any more."""
    from sightline.config import params
    from sightline.config.compose import compose, saved_overrides
    from sightline.config.location import conf_folder
    from sightline.core.errors import ConfigError
    from sightline.datasets.data_settings import flat_params

    own = git.stdout("cat-file", "-e", f"{commit}:./conf") is not None  # else the installed one is used
    packed = git.stdout("archive", commit, "params.yaml", *(["conf"] if own else []))
    if packed is None:
        return {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        try:
            read = params.read(folder / "params.yaml")
            conf = folder / "conf" if own else conf_folder()
            return flat_params(compose(saved_overrides(read, conf), conf))
        except ConfigError:
            return {}


def is_evaluated(root: Path, info: Path) -> bool:
    """Returns whether the project's reports are of this model, as far as dvc.lock says."""
    import hashlib

    from ruamel.yaml import YAML

    try:
        made = YAML(typ="safe", pure=True).load(root / "dvc.lock")["stages"]["evaluate"]["deps"]
    except (FileNotFoundError, KeyError, TypeError):
        return True
    known = {dep["path"]: dep.get("md5") for dep in made}.get(info.relative_to(root).as_posix())
    return known is None or known == hashlib.md5(info.read_bytes(), usedforsecurity=False).hexdigest()


def model_settings(info: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Returns the settings in a `model.json`, and those of the data that the model was trained on."""
    from sightline.datasets.data_settings import load_settings

    settings: dict[str, str] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, Mapping):
            for key, value in node.items():
                walk(value, f"{path}.{key}")
        else:
            settings[path] = str(node)

    walk({**info.get("training", {}), "model": info.get("architecture", {})}, "train")
    made_with = load_settings(root, str(info.get("data_sha256", "")))
    return {**{key: value for key, value in made_with.items() if "." in key}, **settings}
