"""The digest of each stage's code."""

from __future__ import annotations

from pathlib import Path

from sightline.core import files
from sightline.core.code_digest import CodeDigests


def write_code_digests(output: Path, scripts: Path = Path("pipeline")) -> None:
    """Writes the code digest of every stage's script but the watching one's own, which always runs.

    Args:
        output: The JSON file to write, {stage: digest}.
        scripts: Folder of the scripts.
    """
    stages = sorted(path.stem for path in scripts.glob("*.py") if path.stem not in ("__init__", "watch"))
    digests = CodeDigests(scripts=scripts)
    files.write_json(output, {stage: digests.digest(f"pipeline.{stage}") for stage in stages})
