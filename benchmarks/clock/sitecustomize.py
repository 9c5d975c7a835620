"""Times a stage that `dvc repro` runs; Python imports this file when it starts, since `stages.py` puts it on the path.

Start-up is everything before the stage's `run` is called (interpreter, imports, configuration) plus the imports inside
`run`; work is the rest. Writes one JSON file per stage to the folder SIGHTLINE_CLOCK.
"""

import atexit
import builtins
import json
import os
import sys
import time
from pathlib import Path

import psutil


class _Clock:
    def __init__(self) -> None:
        self.born = psutil.Process().create_time()
        self.entered = 0.0
        self.importing = 0.0
        self.depth = 0
        self.original = builtins.__import__

    def imports(self, *arguments, **keywords):
        self.depth += 1
        start = time.perf_counter()
        try:
            return self.original(*arguments, **keywords)
        finally:
            self.depth -= 1
            if self.depth == 0 and self.entered:
                self.importing += time.perf_counter() - start
            if not self.entered and hasattr(sys.modules.get("sightline.config.stage_runner"), "stage_main"):
                self.watch_for_entry(sys.modules["sightline.config.stage_runner"])

    def watch_for_entry(self, config) -> None:
        original = config.stage_main
        if original.__name__ == "timed_main":
            return

        def timed_main(stage, schema, run, *arguments, **keywords):
            def timed_run(*given):
                self.entered = time.time()
                return run(*given)

            return original(stage, schema, timed_run, *arguments, **keywords)

        config.stage_main = timed_main

    def finish(self) -> None:
        wall, used = time.time() - self.born, os.times()
        if self.entered:
            startup = self.entered - self.born + self.importing
        elif getattr(sys.modules["__main__"].__spec__, "name", "") == f"pipeline.{os.environ['DVC_STAGE']}":
            startup = wall  # a stage without settings: `headline` composes no configuration and reads two files
        else:
            return  # a child process of a stage
        cpu = used.user + used.system + used.children_user + used.children_system
        note = {"startup": startup, "work": wall - startup, "cpu": cpu}
        Path(os.environ["SIGHTLINE_CLOCK"], f"{os.environ['DVC_STAGE']}.json").write_text(json.dumps(note))


if "DVC_STAGE" in os.environ and "SIGHTLINE_CLOCK" in os.environ:
    _clock = _Clock()
    builtins.__import__ = _clock.imports
    atexit.register(_clock.finish)
