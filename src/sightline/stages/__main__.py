"""Entry point that runs a stage's script by name in any project: `python -m sightline.stages train [KEY=VALUE]`.

A clone can also use `python -m pipeline.train`; a project made by `sightline init` has no scripts of its own.
"""

from __future__ import annotations

import os
import runpy
import sys

from sightline.config.location import scripts_folder


def main() -> None:
    """Runs the script of the stage named by the first argument."""
    if os.environ.get("DVC_STAGE"):  # before the imports of the script, which take seconds
        from sightline.core.dvc_files import begin_stage

        begin_stage()
    folder = scripts_folder()
    known = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    if len(sys.argv) < 2 or sys.argv[1] not in known:
        sys.exit(f"python -m sightline.stages STAGE [KEY=VALUE]: name a stage, one of {', '.join(known)}")
    script = str(folder / f"{sys.argv[1]}.py")
    sys.argv[:2] = [script]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
