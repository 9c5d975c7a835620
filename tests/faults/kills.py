"""Campaign of kills: SIGKILL at a random time of a `dvc repro`, then the same command again."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.campaign import KNOBS, NEXT_LIMIT
from tests.faults.killed_run import PARTS, STAGE, WORKER, complaint, left_wrong, lock_of, processor_seconds, victims_of
from tests.faults.sql_project import SqlProject
from tests.faults.stage_faults import digests, replace_tree
from tests.pipeline import project as projects
from tests.pipeline.project import Project, Ran
from tests.servers import processes

SERVER, DATABASE = "MLflow server", "database"


@dataclass(frozen=True)
class Change:
    """A change of settings that makes stages rerun: the settings, and the target given to `dvc repro`."""

    settings: Mapping[str, Any]
    target: tuple[str, ...] = ()


CHANGES = {
    "all": Change({"ingest__limit": NEXT_LIMIT}),
    "watch": Change({"ingest__limit": NEXT_LIMIT}, ("watch",)),
    "ingest": Change({"ingest__limit": NEXT_LIMIT}, ("ingest",)),
    "preprocess": Change({"preprocess__size": 14}, ("preprocess",)),
    "train": Change({"train__lr": 0.003}, ("train",)),
    "baseline": Change({"baseline__methods": ["majority", "pixels_logreg", "hog_svm"]}, ("baseline",)),
    "evaluate": Change({"evaluate__gallery": 5}, ("headline",)),
    "export": Change({"export__parity_images": 30}, ("export",)),
}
WITH_WORKERS = ("all", "ingest", "baseline")
WITH_RUNS = ("train", "baseline", "evaluate", "export")
"""Changes whose stages add runs to MLflow."""


@dataclass(frozen=True)
class Undisturbed:
    """The result of a change without a kill: outputs, `dvc.lock`, CPU seconds."""

    outputs: dict[str, str]
    lock: Any
    processor: float


@dataclass(frozen=True)
class Kill:
    """The outcome of a kill: its target, the change, and the CPU seconds before it; whether DVC left truncated files of
    its own that needed `sightline repair`; and what was wrong."""

    target: str
    change: str
    seconds: float
    repaired: bool
    problem: str


class KillCampaign:
    """A reproduced project, and another with a database as its source if MariaDB is available.

    Args:
        folder: An empty folder for the projects and all other files.
        changes: The changes of settings to make.
        targets: What to kill.
    """

    def __init__(
        self,
        folder: Path,
        changes: tuple[str, ...] = tuple(CHANGES),
        targets: tuple[str, ...] = (*PARTS, SERVER, DATABASE),
    ) -> None:
        self.folder, self.changes, self.targets = folder, changes, targets
        self.closing = contextlib.ExitStack()
        self.threads = self.closing.enter_context(ThreadPoolExecutor(1))
        self.project = projects.make(folder / "project", KNOBS)
        self.project.repro(*CHANGES[changes[0]].target if len(changes) == 1 else ())
        self.saved = self.project.copy(folder / "saved")
        self.undisturbed: dict[str, Undisturbed] = {}

    def close(self) -> None:
        """Ends the processes."""
        self.closing.close()

    def run(self, kills: int, seed: int) -> Iterator[Kill]:
        """Performs `kills` kills; those that come after the end of the run do not count."""
        draw = random.Random(seed)
        done = 0
        while done < kills:
            target = self._target(done)
            if target == DATABASE:
                found = self._database_killed(draw)
            else:
                among = {WORKER: WITH_WORKERS, SERVER: WITH_RUNS}.get(target, self.changes)
                name = draw.choice([name for name in among if name in self.changes])
                found = self._server_killed(name, draw) if target == SERVER else self._killed(target, name, draw)
            if found:
                done += 1
                yield found

    def _target(self, number: int) -> str:
        """Returns what to kill: mostly a part of the run, since restarting a server takes long."""
        if SERVER in self.targets and number % 20 == 10:
            return SERVER
        if DATABASE in self.targets and number % 10 == 5:
            return DATABASE
        inside = [target for target in self.targets if target in PARTS]
        return inside[number % len(inside)]

    # --- the processes of a DVC run --------------------------------------------------------------------------------

    def _killed(self, target: str, name: str, draw: random.Random) -> Kill | None:
        self._change(self.project, self.saved, name)
        good = self._undisturbed(self.project, self.saved, name)
        before = digests(self.project)
        running = self._begin(self.project, name)
        seconds = self._wait(running, draw.uniform(0, good.processor))
        victims = []
        while not running.done() and not (victims := victims_of(target)):
            time.sleep(0.002)
        for process in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        ran = running.result()
        if not victims or (ran.code == 0 and target != WORKER):
            return None
        errors = {STAGE: 1, WORKER: int(ran.code != 0)}.get(target, 0)
        return self._judged(target, name, seconds, self.project, before, good, ran, errors)

    def _change(self, project: Project, saved: Project, name: str) -> None:
        replace_tree(saved.root, project.root)
        project.set(**CHANGES[name].settings)

    def _begin(self, project: Project, name: str, **variables: str) -> Future[Ran]:
        return self.threads.submit(project.command, "dvc", "repro", *CHANGES[name].target, **variables)

    def _wait(self, running: Future[Ran], processor: float) -> float:
        """Waits until the run has used the given CPU seconds or has ended; returns the CPU seconds that it has used.

        It does not wait for a wall-clock time, since the progress by then depends on the load of the machine.
        """
        used = 0.0
        while not running.done() and used < processor:
            time.sleep(0.01)
            used = max(used, processor_seconds())
        return used

    def _undisturbed(self, project: Project, saved: Project, name: str, **variables: str) -> Undisturbed:
        """Runs a change once without a kill, and restores the project."""
        key = f"{project.root.name} {name}"
        if key not in self.undisturbed:
            self._change(project, saved, name)
            running = self._begin(project, name, **variables)
            used = self._wait(running, math.inf)
            assert running.result().code == 0, running.result().output
            self.undisturbed[key] = Undisturbed(digests(project), lock_of(project), used)
            self._change(project, saved, name)
        return self.undisturbed[key]

    def _judged(
        self,
        target: str,
        name: str,
        seconds: float,
        project: Project,
        before: dict[str, str],
        good: Undisturbed,
        ran: Ran,
        errors: int,
        **variables: str,
    ) -> Kill:
        """Checks the state after a kill, reruns the command, and checks the result."""
        problem = complaint(ran, errors) or left_wrong(project, before, good.outputs)
        again = project.command("dvc", "repro", *CHANGES[name].target, **variables)
        repaired = again.code == 255 and project.command("sightline", "repair").output.count("cut short") > 0
        if repaired:
            again = project.command("dvc", "repro", *CHANGES[name].target, **variables)
        if not problem and (again.code or "Traceback (most recent" in again.output):
            problem = f"the next run ended with {again.code}"
        after = digests(project)
        changed = sorted(
            path for path in good.outputs.keys() | after.keys() if good.outputs.get(path) != after.get(path)
        )
        if not problem and (changed or lock_of(project) != good.lock):
            problem = f"these are not as undisturbed: {changed[:3] or 'dvc.lock'}"
        shown = f"{problem}\n{ran.output}\n--- next run\n{again.output}" if problem else ""
        return Kill(target, name, seconds, repaired, shown)

    # --- the servers that it uses ----------------------------------------------------------------------------------

    def _server_killed(self, name: str, draw: random.Random) -> Kill | None:
        good = self._undisturbed(self.project, self.saved, name)
        self._change(self.project, self.saved, name)
        before = digests(self.project)
        port = processes.free_port()
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", str(self.folder / "server-artifacts")]
        address = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
        with processes.running(command, self.folder / "server.log", port, signal.SIGKILL, own_group=True) as server:
            running = self._begin(self.project, name, **address)
            seconds = self._wait(running, draw.uniform(0, good.processor))
            in_time = not running.done()
            os.killpg(server.pid, signal.SIGKILL)
            ran = running.result()
        if not in_time:
            return None
        return self._judged(SERVER, name, seconds, self.project, before, good, ran, int(ran.code != 0), **address)

    def _database_killed(self, draw: random.Random) -> Kill | None:
        database = self._database()
        good = self._undisturbed(database.project, database.saved, "ingest", **database.variables)
        self._change(database.project, database.saved, "ingest")
        before = digests(database.project)
        running = self._begin(database.project, "ingest", **database.variables)
        seconds = self._wait(running, draw.uniform(0, good.processor))
        in_time = not running.done()
        database.process.kill()
        ran = running.result()
        database.start()
        if not in_time:
            return None
        errors = int(ran.code != 0)
        return self._judged(
            DATABASE, "ingest", seconds, database.project, before, good, ran, errors, **database.variables
        )

    def _database(self) -> SqlProject:
        if not hasattr(self, "_own_database"):
            self._own_database = SqlProject(self.folder, self.closing)
        return self._own_database
