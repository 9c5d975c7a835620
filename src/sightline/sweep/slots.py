"""Slots: git worktrees below `.dvc/tmp/sweeps/`, one for each configuration of the data, with the project's DVC cache.

The data stages run there once, by DVC, and never in the project's own folder. `tracking.project_root` finds the project
from there, so that runs and their files are kept with the project's.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

from sightline.core import code_digest, files, git
from sightline.core.errors import UserError
from sightline.sweep import fork_server, slot_dvc
from sightline.sweep.fork_server import ChildEndedError, ProcessRequest, ServedProcess
from sightline.sweep.job import SweepJob

FOLDER = Path(".dvc/tmp/sweeps")
CARRIED = ("conf", "src", "pipeline")
"""Folders whose untracked files (such as a new option or module) are copied to slots."""
SHARED = (files.STATE / "checkpoints", files.STATE / "memo")
"""Folders that slots share with the project: interrupted trainings, and preprocessed images by content."""
LOCK = "sweep-slots"
"""Lock of a project's sweeps for git (which does not wait for its own lock) and for removing abandoned slots."""
PATIENCE = 10.0
"""Seconds that DVC may take to exit when it is done."""


class Slots:
    """The slots of one sweep, each created when a job first needs it.

    Args:
        sweep: The sweep's name.
        stages: Stages that are likely to run in every slot.

    Attributes:
        stopping: Whether it was asked to stop.
    """

    def __init__(self, sweep: str, stages: Iterable[str] = ()) -> None:
        self._folder = FOLDER / sweep
        self._modules = (*slot_dvc.MODULES, *(name for stage in stages for name in slot_dvc.OF_STAGES[stage]))
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._broken: dict[str, str] = {}
        self._ready: set[str] = set()
        self._running: set[ServedProcess] = set()
        self.stopping = False
        with files.waiting_lock(LOCK):
            self._tree = _tree()

    def folder(self, job: SweepJob) -> Path:
        """Returns the slot for a job's data."""
        return (self._folder / job.data).absolute()

    def prepare(self, job: SweepJob) -> bool:
        """Creates the images of a job, unless an earlier job did.

        Returns:
            Whether they were created now.

        Raises:
            UserError: If that fails; later jobs with the same data fail without another attempt.
        """
        with self._guard:
            lock = self._locks.setdefault(job.data, threading.Lock())
        with lock:
            if job.data in self._broken:
                raise UserError(self._broken[job.data])
            if job.data in self._ready:
                return False
            try:
                self._make(self.folder(job), job)
            except UserError as error:
                self._broken[job.data] = str(error)
                raise
            self._ready.add(job.data)
            return True

    def _make(self, folder: Path, job: SweepJob) -> None:
        with self._guard, files.waiting_lock(LOCK):
            git.run("worktree", "add", "--quiet", "--detach", "--no-checkout", "--force", str(folder), "HEAD")
            git.run("read-tree", "--reset", "-u", self._tree, folder=folder)
        for name in git.paths("ls-files", "-z", "--others", "--exclude-standard", "--", *CARRIED):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, folder / name)
        _write_dvc_settings(folder)
        carry_code_memory(folder)
        for shared in SHARED:
            shared.mkdir(parents=True, exist_ok=True)
            (folder / shared).parent.mkdir(parents=True, exist_ok=True)
            (folder / shared).symlink_to(shared.absolute())
        (folder / "params.yaml").write_text(job.data_params, encoding="utf-8")
        self.dvc(folder, "repro", "preprocess")

    def dvc(self, folder: Path, *words: str, log: Path | None = None) -> None:
        """Runs DVC in a slot.

        Args:
            folder: The slot.
            words: The command.
            log: The file for its output; None for one in the slot, which is removed with it.

        Raises:
            UserError: If it fails, with the reason.
        """
        log = log or folder / "dvc.log"
        begun = log.stat().st_size if log.is_file() else 0
        environment = slot_environment(folder)
        entry = f"{slot_dvc.__name__}:{slot_dvc.serve_dvc.__name__}"
        process = fork_server.shared_server().begin(
            ProcessRequest(entry, self._modules, folder, environment, log, fork_server.FRESH)
        )
        self._running.add(process)
        try:
            code = process.ask(list(words))
        except ChildEndedError as ended:
            code = ended.code
        self._running.discard(process)
        process.close(PATIENCE)
        if self.stopping:
            raise UserError("stopped")
        if code:
            raise UserError(_reason(log, begun) or f"dvc {' '.join(words)} ended with exit code {code}")

    def stop(self) -> None:
        """Terminates the running DVC commands."""
        self.stopping = True
        for process in list(self._running):
            process.terminate()

    def resume(self) -> None:
        """Permits DVC commands again after a stop."""
        self.stopping = False

    def remove(self) -> None:
        """Removes the slots; DVC's outputs are in its cache."""
        remove_slot(self._folder)


def remove_slot(folder: Path) -> None:
    """Removes the slots of a sweep, and their worktree entries in git."""
    shutil.rmtree(folder, ignore_errors=True)
    git.run("worktree", "prune")


def remove_abandoned() -> None:
    """Removes the slots of sweeps whose process was killed."""
    for folder in sorted(FOLDER.glob("*/")) if FOLDER.is_dir() else ():
        try:
            with files.lock(f"sweep-{folder.name}"):
                remove_slot(folder)
        except files.LockedError:
            continue


def slot_environment(slot: Path) -> dict[str, str]:
    """Returns the environment of a process in a slot: the slot's code first, without variables of a parent DVC."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_") or "DIR" in name}
    paths = filter(None, [str(slot / "src"), str(slot), kept.get("PYTHONPATH")])
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def _tree() -> str:
    """Returns the git tree of the tracked files in their current state.

    Raises:
        UserError: If the project is not a git repository with a commit.
    """
    if git.answer("rev-parse", "--verify", "--quiet", "HEAD") is None:
        raise UserError("a sweep works in git worktrees: git init && git add . && git commit -m start")
    return f"{git.run('stash', 'create') or 'HEAD'}^{{tree}}"


def _write_dvc_settings(folder: Path) -> None:
    """Configures DVC in a slot: the project's untracked settings, its cache, and links rather than copies."""
    from dvc.config import Config

    project = Config.from_cwd()
    local = Path(".dvc/config.local")
    target = folder / ".dvc/config.local"
    target.parent.mkdir(parents=True, exist_ok=True)
    if local.is_file():
        shutil.copy(local, target)
    cache = project.get("cache", {}).get("dir") or Path(".dvc/cache").absolute()
    with Config(dvc_dir=str(target.parent), validate=False).edit("local") as settings:
        kept = settings.get("cache", {})
        settings["cache"] = {**kept, "dir": os.fspath(cache), "type": "reflink,hardlink,symlink,copy"}


def carry_code_memory(folder: Path) -> None:
    """Copies the cached code digests of the project's files to a slot, for files that are identical.

    The file times are adjusted, because a slot's files are newer.

    Args:
        folder: The slot.
    """
    memory = code_digest.MEMORY
    if not memory.is_file():
        return
    kept = json.loads(memory.read_bytes())
    carried = {}
    for key, (modified, size, *known) in kept["files"].items():
        path, target = Path(key), folder / os.path.relpath(key)
        inside = ".." not in Path(os.path.relpath(key)).parts
        if not (inside and path.is_file() and target.is_file()):
            continue
        before, now = path.stat(), target.stat()
        same = [before.st_mtime_ns, before.st_size] == [modified, size] and path.read_bytes() == target.read_bytes()
        if same:
            carried[str(target) if path.is_absolute() else key] = [now.st_mtime_ns, now.st_size, *known]
    files.write_json(folder / code_digest.MEMORY, {**kept, "files": carried})


def _reason(log: Path, begun: int) -> str:
    """Returns the error message in DVC's output: the stage's own, which comes before DVC's.

    Args:
        log: The file.
        begun: Offset of the output in the file, in bytes.
    """
    text = log.read_bytes()[begun:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ended = next((i for i, line in enumerate(lines) if line.startswith("ERROR:")), len(lines))
    before = [line for line in lines[:ended] if not line.startswith(("Running stage", ">", "Stage '"))]
    own = before[-1] if before else ""
    return own or (lines[ended] if ended < len(lines) else "")
