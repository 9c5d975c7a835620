"""The digest of each stage's code and, in a project of one's own, of its choices and defaults in `conf/`."""

from __future__ import annotations

from pathlib import Path

from sightline.config.location import SCRIPTS, conf_folder, scripts_folder
from sightline.core import files
from sightline.core.code_digest import CodeDigests


def write_code_digests(output: Path) -> None:
    """Writes the code digest of every stage's script but the watching one's own, which always runs.

    A clone's dvc.yaml names the files of `conf/` that a stage reads. In a project that has no scripts of its own
    `conf/` is, as they are, a part of what is installed: the digests are of both.
    The script of sweeps is no stage's.

    Args:
        output: The JSON file to write, {stage: digest}.
    """
    scripts, conf = scripts_folder(), conf_folder()
    stages = sorted(path.stem for path in scripts.glob("*.py") if path.stem not in ("__init__", "watch", "sweep"))
    code = CodeDigests(scripts=scripts)
    digests = {stage: code.digest(f"pipeline.{stage}") for stage in stages}
    if scripts != SCRIPTS:
        both = {stage: f"{digest} {_conf_digest(conf, stage)}" for stage, digest in digests.items()}
        digests = {stage: files.sha256(text.encode()) for stage, text in both.items()}
    files.write_json(output, digests)


def _conf_digest(conf: Path, stage: str) -> str:
    paths = [conf / "config.yaml", *sorted((conf / stage).rglob("*.yaml"))]
    return files.sha256("\n".join(f"{path.relative_to(conf)} {files.sha256_file(path)}" for path in paths).encode())
