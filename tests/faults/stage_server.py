"""Process that runs one stage repeatedly, each time in a fork of itself with the stage's imports already done.

Run as `python -m tests.faults.stage_server SCRIPT MODULES`, in the project's root. A line on standard input names the
file for the run's output; the response, a line on standard output, is the run's exit code. The first run records which
modules the stage imports, and the server then imports them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path

TIME_LIMIT = 900
"""Seconds after which a run is killed; a run that hangs counts as a failure."""


def run(script: str, printed: Path, modules: Path) -> int:
    """Runs the stage in a fork, and returns its exit code, negative if a signal ended it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70
    try:
        signal.alarm(TIME_LIMIT)
        descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.argv = [script]
        try:
            runpy.run_path(script, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            code = 1
        if not modules.exists():
            modules.write_text(json.dumps([name for name, module in sys.modules.items() if module is not None]))
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Serves until standard input ends."""
    script, modules = sys.argv[1], Path(sys.argv[2])
    sys.path.insert(0, str(Path(script).parents[1]))
    for line in sys.stdin:
        fresh = not modules.exists()
        print(run(script, Path(line.rstrip("\n")), modules), flush=True)
        if fresh:
            for name in json.loads(modules.read_text()):
                with contextlib.suppress(BaseException):  # some modules cannot be imported by name
                    importlib.import_module(name)


if __name__ == "__main__":
    main()
