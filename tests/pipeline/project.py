"""Copies of this project in which the tests run `dvc repro`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from tests import forked

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ROOT = Path(__file__).parents[2]
STAGES = ("watch", "ingest", "preprocess", "train", "baseline", "evaluate", "headline", "export")
OUTPUTS = ("data", "models", "reports")
# The whole pipeline takes half a minute with these settings, mostly for imports.
TINY = {
    "ingest__limit": 200,
    "train__max_epochs": 1,
    "baseline__methods": ["majority", "pixels_logreg"],
    "evaluate__gallery": 4,
}
BIN = Path(sys.executable).parent
TRACE = Path(__file__).parent / "trace"


@dataclass(frozen=True)
class Ran:
    """The outcome of a command.

    Attributes:
        code: Its exit code.
        output: Its output, standard error included.
    """

    code: int
    output: str

    @property
    def ran(self) -> list[str]:
        """The stages that DVC ran, in order."""
        return re.findall(r"^Running stage '([\w@-]+)'", self.output, re.MULTILINE)


@dataclass(frozen=True)
class Project:
    """A copy of the project as a separate git repository."""

    root: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """Returns the environment of a command in the copy: the copy's own code, and none of the user's settings."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DVC_", "MLFLOW_", "SIGHTLINE_", "GIT_", "PYTHON", "COV_", "HYDRA_"))
            and not name.endswith("_NUM_THREADS")  # users do not set these
        }
        private = self.root.parent / f"{self.root.name}.private"
        identity = {
            f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        return {
            **kept,
            **identity,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.root / "src"),  # precedes the installed, editable project
            "OMP_WAIT_POLICY": "PASSIVE",  # waiting threads do not take the cores of other tests
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"DVC_{place}_DIR": str(private / place) for place in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")},
            "DVC_NO_ANALYTICS": "1",
            **changes,
        }

    def command(self, *words: str, timeout: float = 900, **environment: str) -> Ran:
        """Runs a command in the copy's root, in a fork of the server if it is slow to start."""
        if forked.can_run(words, environment):
            return Ran(*forked.run(words, self.root, self.environment(**environment), timeout))
        done = subprocess.run(
            words,
            cwd=self.root,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
        return Ran(done.returncode, done.stdout)

    def check(self, *words: str, timeout: float = 900, **environment: str) -> Ran:
        """Runs a command that must succeed."""
        done = self.command(*words, timeout=timeout, **environment)
        assert done.code == 0, f"{' '.join(words)} ended with {done.code}:\n{done.output[-6000:]}"
        return done

    def repro(self, *words: str, **environment: str) -> Ran:
        """Runs `dvc repro`, which must succeed."""
        return self.check("dvc", "repro", *words, **environment)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replaces a text that occurs exactly once in a file."""
        file = self.root / path
        text = file.read_text()
        assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
        file.write_text(text.replace(old, new))

    def append(self, path: str, line: str) -> None:
        """Adds a line to the end of a file."""
        with (self.root / path).open("a") as stream:
            stream.write(f"{line}\n")

    def set(self, **knobs: Any) -> None:
        """Sets knobs of params.yaml, each named by its section, two underscores, and its key."""
        for name, value in knobs.items():
            section, key = name.split("__")
            file = self.root / "params.yaml"
            pattern = rf"(?ms)(^{section}:\n(?:(?!^\w).)*?^  {key}: )(?:\[[^]]*\]|\S+)"
            text, count = re.subn(pattern, rf"\g<1>{json.dumps(value)}", file.read_text())
            assert count == 1, f"params.yaml has {count} times {section}.{key}"
            file.write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def commit(self, message: str) -> None:
        self.check("git", "add", "--all")
        self.check("git", "commit", "--quiet", "--message", message)

    def outputs(self) -> dict[str, bytes]:
        """Returns the content of every file below the folders that the stages write."""
        files = (path for folder in OUTPUTS for path in (self.root / folder).rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in files}

    def processes(self) -> list[psutil.Process]:
        """Returns the processes that stand in the project's folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(self.root):
                    found.append(process)
        return found

    def mlflow(self) -> MlflowClient:
        """Opens the MLflow store."""
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        from mlflow import MlflowClient  # here, since it takes seconds to import

        return MlflowClient(f"sqlite:///{self.root}/mlflow.db")

    def runs(self, baselines: bool = False) -> list[Run]:
        """Returns the MLflow runs of trainings, or those of baselines, newest first."""
        client = self.mlflow()
        experiment = client.get_experiment_by_name("sightline")
        found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
        return [run for run in found if ("sightline.baseline" in run.data.tags) == baselines]

    def clone(self, to: Path, commit: str) -> Project:
        """Clones a commit: only the sources, without DVC's cache and MLflow's runs."""
        self.check("git", "clone", "--quiet", str(self.root), str(to))
        self.check("git", "-C", str(to), "checkout", "--quiet", commit)
        return Project(to)

    def copy(self, to: Path) -> Project:
        """Copies everything, including DVC's cache and the MLflow runs."""
        shutil.copytree(self.root, to, symlinks=True)
        return Project(to)


IMAGE_DIFF = """
import dataclasses, json
from sightline.changes.dataset_diff import DatasetState, compare_datasets
from sightline.changes.revision import Revision
diff = compare_datasets(DatasetState.read(Revision("HEAD")), DatasetState.read(Revision(None)))
print(json.dumps({field.name: getattr(diff, field.name) for field in dataclasses.fields(diff)[2:]}))
"""


def image_diff(project: Project) -> dict[str, list[Any]]:
    """Returns the images that differ between the last commit and the working folder, by kind of difference."""
    found: dict[str, list[Any]] = json.loads(project.check(sys.executable, "-c", IMAGE_DIFF).output.splitlines()[-1])
    return found


def sources() -> list[Path]:
    """Returns the project's files that a commit would contain now, without the outputs of the stages."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = {Path(name) for name in listed.split("\0") if name}
    return sorted(
        path
        for path in names
        if path.parts[0] not in (*OUTPUTS, "tests", "docs", "benchmarks") and path.name != "dvc.lock"
        if (ROOT / path).is_file()
    )


def make(root: Path, knobs: Mapping[str, Any] = TINY) -> Project:
    """Copies the project, sets knobs, and commits it to a new git repository."""
    for path in sources():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)
    project = Project(root)
    project.set(**knobs)
    project.check("git", "init", "--quiet", "--initial-branch", "main")
    project.commit("the project")
    return project


def stages() -> dict[str, dict[str, Any]]:
    """Returns the stages of dvc.yaml."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return found
