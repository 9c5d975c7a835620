"""The steps of the pipeline's workflow, parsed from its file and run as GitHub runs them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.pipeline.project import ROOT, Project, Ran

FILE = ROOT / ".github/workflows/pipeline.yml"
CHECK = "Say what is out of date"
RERUN = "Rerun it, and fetch no more than that needs"
GATE = "Hold back what is worse, or made of worse data"


def steps(job: str) -> dict[str, str]:
    """Returns the commands of a job by step name, without the installation, which the tests do themselves."""
    workflow: dict[str, Any] = yaml.safe_load(FILE.read_text())
    assert workflow["defaults"]["run"]["shell"] == "bash"  # GitHub runs it with pipefail, as these tests do
    found = {step["name"]: step["run"] for step in workflow["jobs"][job]["steps"] if "run" in step}
    found.pop("Install", None)
    return found


def run(project: Project, command: str, base: str, **environment: str) -> Ran:
    """Runs a step the way GitHub does."""
    summary = project.root / "summary.md"
    empty = {"MLFLOW_TRACKING_URI": "", "SIGHTLINE_DATABASE_URL": ""}
    words = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command)
    return project.command(*words, BASE=base, GITHUB_STEP_SUMMARY=str(summary), **empty, **environment)


def repro(project: Project, base: str, ends_at: str = "", target: str = "", **environment: str) -> dict[str, Ran]:
    """Runs the steps of the job `repro`, which must all succeed except the step at which the job should end.

    Args:
        project: The clone.
        base: The commit that the change is compared with.
        ends_at: The step that must fail; "" if none.
        target: The last stage to run; "" runs all stages. With a target, the gate, which needs a model, is skipped.
        environment: Further environment variables.
    """
    ran = {}
    for name, command in steps("repro").items():
        if target and name == GATE:
            continue
        command = command.replace("dvc repro --pull --allow-missing", f"dvc repro --pull --allow-missing {target}")
        ran[name] = run(project, command, base, **environment)
        assert (ran[name].code != 0) == (name == ends_at), f"{name}: {ran[name].output[-3000:]}"
    return ran


def commit(project: Project, origin: Path) -> Ran:
    """Runs the job `commit` on the results of the job `repro`, and pushes to a repository on this machine."""
    results = project.root / "results"
    shutil.rmtree(results, ignore_errors=True)
    (results / "reports").mkdir(parents=True)
    for name in ("dvc.lock", "reports/metrics.json"):
        if (project.root / name).is_file():
            shutil.copy(project.root / name, results / name)
    (command,) = steps("commit").values()
    lines = command.splitlines()
    assert lines[-1].startswith("git push ")
    return project.command("bash", "-ec", "\n".join([*lines[:-1], f"git push --quiet {origin} HEAD:main"]))


def fresh(origin: Path, to: Path) -> Project:
    """Clones a repository."""
    subprocess.run(["git", "clone", "--quiet", origin, to], check=True)
    return Project(to)
