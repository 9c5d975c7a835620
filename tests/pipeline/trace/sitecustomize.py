"""Records which files of the project and which modules a stage's process uses; Python imports this file when it starts.

Active only in a stage that DVC runs, if SIGHTLINE_TEST_TRACE names an output folder. Writes one file per stage, with a
line `file PATH` for each file of the project that Python opened (a module's compiled file counts as its source) or that
a library read by itself (detected by the access time, if the file system records it), a line `import PATH` for each
imported file, and a line `module NAME` for each top-level module.
"""

import atexit
import os
import sys
from pathlib import Path

FOLDERS = ("data", "models", "reports")


def _trace(notes: Path, root: Path) -> None:
    stream = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    busy = False

    def note(kind: str, what: str) -> None:
        os.write(stream, f"{kind} {what}\n".encode())

    def opened(event: str, arguments: tuple) -> None:
        nonlocal busy
        if event != "open" or busy or not isinstance(arguments[0], str | os.PathLike):
            return
        busy = True
        path = Path(os.path.abspath(arguments[0]))  # noqa: PTH100  (must not follow links)
        if path.is_relative_to(root) and path.is_file():
            if path.parent.name == "__pycache__":
                path = path.parents[1] / f"{path.name.split('.')[0]}.py"
            note("file", str(path.relative_to(root)))
        busy = False

    def finish() -> None:
        for path in untouched:
            if path.is_file() and path.stat().st_atime_ns:
                note("file", str(path.relative_to(root)))
        for name in {name.partition(".")[0] for name in sys.modules}:
            note("module", name)
        for module in list(sys.modules.values()):
            path = Path(getattr(module, "__file__", None) or "/")
            if path.is_relative_to(root):
                note("import", str(path.relative_to(root)))

    untouched = [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file()]
    for path in untouched:
        os.utime(path, ns=(0, path.stat().st_mtime_ns))
    sys.addaudithook(opened)
    atexit.register(finish)


if "DVC_STAGE" in os.environ and "SIGHTLINE_TEST_TRACE" in os.environ:
    _trace(Path(os.environ["SIGHTLINE_TEST_TRACE"], os.environ["DVC_STAGE"]), Path.cwd())
