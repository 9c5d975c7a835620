"""One thin script per stage: configuration in, one library call, files out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Use the code next to these scripts, not that of the folder from which Sightline was installed: a git worktree, or a
# copy in which DVC runs an experiment (`--temp`, `--queue`), runs the code that it records. Workers inherit the path.
_SOURCE = str(Path(__file__).resolve().parents[1] / "src")
_OTHERS = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", _SOURCE)]
sys.path.insert(0, _SOURCE)
os.environ["PYTHONPATH"] = os.pathsep.join([_SOURCE, *_OTHERS])

if os.environ.get("DVC_STAGE"):  # before the scripts' imports, which take seconds
    from sightline.core.dvc_files import begin_stage

    begin_stage()
