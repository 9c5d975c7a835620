"""The commands of docs/team.md, with an S3 server, PostgreSQL and an MLflow server of this machine."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from tests.pipeline import project as projects
from tests.pipeline.project import ROOT, Project
from tests.servers import processes
from tests.stages.ingest.helpers import picture, tree


def block(name: str) -> str:
    """Returns the commands of a block of the page."""
    found = re.search(rf"```bash {name}\n(.*?)```", (ROOT / "docs/team.md").read_text(), re.DOTALL)
    assert found
    return found[1]


@pytest.mark.slow
@pytest.mark.full
def test_a_team_works_by_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with processes.s3("birds-dvc", "birds-mlflow") as environment:
        environment |= {"PGPASSWORD": processes.PASSWORD, "REPOSITORY": str(tmp_path / "origin.git")}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        here = projects.make(
            tmp_path / "a", {"ingest__source": "folder", "ingest__path": "data/birds", "train__max_epochs": 1}
        )
        here.check("git", "clone", "--quiet", "--bare", str(here.root), environment["REPOSITORY"])
        here.check("git", "remote", "add", "origin", environment["REPOSITORY"])
        here.check("git", "config", "push.autoSetupRemote", "true")
        tree(here.root / "data/birds", {f"{'ab'[n % 2]}/{n:02}.png": picture(n) for n in range(60)})

        mlflow_port = processes.free_port()
        with processes.postgresql() as database:
            place = re.sub(r"^\w+://", "postgresql+psycopg://", database)
            address = f"127.0.0.1:{mlflow_port}"
            command = block("server").replace("mlflow.example:5000", address).split()
            command[command.index("5000")] = str(mlflow_port)
            command[command.index("postgresql+psycopg://mlflow@db.example/mlflow")] = place
            command[:1] = [sys.executable, "-m", "mlflow"]
            with processes.running(command, tmp_path / "log", mlflow_port, signal.SIGTERM):
                # Training is what tells MLflow; the stages behind it would take longer than all the rest.
                first = block("first").replace("mlflow.example:5000", address).replace("dvc repro", "dvc repro train")
                ran = here.check("bash", "-ec", first, **environment)
                assert ran.ran == ["watch", "ingest", "preprocess", "train"]
                others = block("others").replace("--allow-missing", "--allow-missing train")
                again = Project(tmp_path / "b").root
                again.mkdir()
                there = Project(again).check("bash", "-ec", others, **environment)
                assert there.ran == ["watch"], there.output
                assert Project(again / "birds").check("git", "status", "--porcelain").output == ""
                runs = f"import mlflow; print(len(mlflow.MlflowClient('http://127.0.0.1:{mlflow_port}').search_runs(['1'])))"
                assert here.check(sys.executable, "-c", runs).output.splitlines()[-1] == "1"
        import boto3

        listed = [boto3.client("s3").list_objects_v2(Bucket=bucket) for bucket in ("birds-dvc", "birds-mlflow")]
        assert all(answer["KeyCount"] for answer in listed)
