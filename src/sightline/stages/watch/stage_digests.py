"""Digests of each stage's code and settings.

DVC reads them from `data/stages.json` as parameters of the stages, which is why `dvc.yaml` lists neither code nor the
files of `conf/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.config.location import scripts_folder
from sightline.core import files
from sightline.core.code_digest import CodeDigests

if TYPE_CHECKING:
    from omegaconf import DictConfig

_SECTION = re.compile(r"\$\{(\w+)[.}]")


def settings_digests(config: DictConfig) -> dict[str, str]:
    """Returns the digest of each section of a composed configuration, 64 hexadecimal digits.

    Values are digested without resolving interpolations, because values from the environment (credentials, the number
    of processes) belong to the machine. The digest of a section also covers the sections that it interpolates.
    """
    from omegaconf import OmegaConf  # imported here, as in all of `watch`: most runs find the configuration cached

    texts = {str(name): repr(OmegaConf.to_container(config[name], resolve=False)) for name in config}
    return {name: files.sha256("\n".join(_with_sections_read(name, texts)).encode()) for name in texts}


def _with_sections_read(section: str, texts: Mapping[str, str]) -> list[str]:
    """Returns the text of a section and of those that it interpolates, directly or indirectly."""
    names = [section]
    for name in names:  # the list grows during the loop
        names += sorted({found for found in _SECTION.findall(texts[name]) if found in texts} - set(names))
    return [texts[name] for name in names]


def write_stage_digests(settings: Mapping[str, str], output: Path) -> None:
    """Writes the digests of all stages except `watch`, which always runs.

    The script `sweep` does not belong to a stage.

    Args:
        settings: The digest of each section's settings; a stage need not have a section.
        output: The JSON file to write, `{stage: {"code": digest, "settings": digest}}`.
    """
    scripts = scripts_folder()
    code = CodeDigests(scripts=scripts)
    digests = {}
    for stage in sorted(path.stem for path in scripts.glob("*.py") if path.stem not in ("__init__", "watch", "sweep")):
        digests[stage] = {"code": code.digest(f"pipeline.{stage}")}
        if stage in settings:
            digests[stage]["settings"] = settings[stage]
    files.write_json(output, digests)
