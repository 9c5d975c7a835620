"""One thin script a stage: configuration in, one library call, files out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The code beside these scripts, not that of the folder from which Sightline was installed: a git worktree, and the copy
# in which DVC runs an experiment (`--temp`, `--queue`), run what they record. The environment hands it on to workers.
_SOURCE = str(Path(__file__).resolve().parents[1] / "src")
_OTHERS = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", _SOURCE)]
sys.path.insert(0, _SOURCE)
os.environ["PYTHONPATH"] = os.pathsep.join([_SOURCE, *_OTHERS])

if os.environ.get("DVC_STAGE"):  # before the imports of the scripts, which take seconds
    from sightline.core.dvc_files import begin_stage

    begin_stage()
