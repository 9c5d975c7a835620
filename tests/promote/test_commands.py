"""`sightline promote` and `sightline lineage`, as a user calls them; MLflow's own server on what they registered."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightline.sources.folder import FolderSource
from sightline.stages.preprocess.stage import preprocess
from tests.cli.test_cli import run
from tests.exported import Project
from tests.promote.conftest import Candidate
from tests.stages.ingest.helpers import picture, tree
from tests.stages.ingest.helpers import run as ingest
from tests.stages.preprocess.sets import configuration as preprocess_configuration

ROOT = Path(__file__).parents[2]
POLICY = ("promote.min_accuracy=0.5", "promote.min_class_recall=0.1", "promote.max_ece=0.5")
Make = Callable[..., Candidate]


@pytest.fixture
def configured(place: Path) -> Path:
    """The folder to work in, with the project's configuration."""
    shutil.copytree(ROOT / "conf", place / "conf", dirs_exist_ok=True)
    shutil.copy(ROOT / "params.yaml", place)
    return place


def promote(candidate: Candidate, name: str, *more: str) -> tuple[int, str, str]:
    files = ("--bundle", candidate.bundle, "--predictions", candidate.predictions)
    return run("promote", *POLICY, f"promote.name={name}", *files, *more)


def test_exit_codes_tell_promoted_from_held_back(configured: Path, make: Make) -> None:
    better, worse = make("better"), make("worse", wrong=30)
    code, out, err = promote(better, "commands")
    assert (code, err) == (0, "")
    assert out.startswith("commands version 1 is the champion\naccuracy 0.")
    code, out, err = promote(worse, "commands")
    assert (code, err) == (3, "")
    assert out.startswith("commands version 2 is held back:\n- ")
    assert "\n- accuracy minus the champion's" in out
    code, out, _ = promote(worse, "commands", "--force", "--reason", "a drill")
    assert code == 0
    assert out.startswith("commands version 2 is the champion by force, in place of version 1, in spite of:\n- ")


def test_a_third_of_the_images_corrupt_holds_it_back(
    configured: Path, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {f"{'ab'[n % 2]}/{n:02}.png": picture(n) for n in range(60)}
    corrupt = sorted(images)[::3]
    for name in corrupt:
        images[name] = images[name][:100] + b"0" + images[name][101:]
    place = tmp_path / "place"
    ingested = ingest(FolderSource(tree(tmp_path / "in", images), 2**20), place / "data/raw")
    assert ingested.rejected == dict.fromkeys(corrupt, "corrupt")
    processed = place / "data/processed"
    processed.mkdir()
    preprocess(ingested.out, preprocess_configuration(), processed)
    shutil.copytree(configured / "conf", place / "conf")
    shutil.copy(configured / "params.yaml", place)
    monkeypatch.chdir(place)
    code, out, _ = promote(make(), "corrupt", "--dry-run")
    assert code == 3, out
    assert "20 of 60 inputs were rejected (20 corrupt), more than promote.max_rejected, 0.05: a/00.png, " in out
    listed = run("rejected", "--limit", "99")[1].splitlines()
    assert listed[0].startswith("corrupt: 20; copy or download the file again")
    assert [line.split(":")[0].strip() for line in listed[1:]] == corrupt


def test_lineage_for_people_and_for_programs(configured: Path, make: Make) -> None:
    params = configured / "params.yaml"
    params.write_text(params.read_text().replace("promote:\n", "promote:\n  name: traced\n"))
    assert promote(make(), "traced")[0] == 0
    code, out, _ = run("lineage", "1")
    assert code == 0
    assert out.startswith("traced version 1 (challenger, champion)\nbundle_sha256")
    code, out, _ = run("lineage", "champion", "--json")
    assert json.loads(out)["version"] == 1
    code, out, err = run("lineage", "2")
    assert (code, out, err) == (2, "", "sightline: the model 'traced' has no version 2: there are 1\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--force"], "--force needs a --reason"),
        (["--reason", "x"], "--reason only goes with --force"),
        (["promote.margin=2"], "promote.margin: must be 0 to 1, not 2"),
        (["promote.margn=0"], "promote.margn: unknown key; did you mean 'margin'?"),
        (["--bundle", "gone"], "gone: no such folder"),
    ],
)
def test_wrong_usage_is_one_line(configured: Path, arguments: list[str], message: str) -> None:
    code, out, err = run("promote", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err


@contextlib.contextmanager
def server(folder: Path, model: str) -> Iterator[str]:
    """Runs `mlflow models serve` with the environment that is here, and yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["mlflow", "models", "serve", "-m", model, "--env-manager", "local", "-h", "127.0.0.1", "-p", str(port)]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    log = folder / "serve.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--workers", "1"], cwd=folder, env=environment, stdout=stream, stderr=stream,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=30):
                break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mlflow_serves_the_champion_as_the_command_predicts(
    project: Project, configured: Path, make: Make, tmp_path: Path
) -> None:
    assert promote(make(), "served")[0] == 0
    pictures = project.pictures[:5]
    code, out, _ = run("predict", project.bundle, *pictures, "-f", "json", "-k", 10)
    assert code == 0
    rows = [[base64.b64encode(path.read_bytes()).decode()] for path in pictures]
    rows.append([base64.b64encode(b"no image").decode()])
    body = json.dumps({"dataframe_split": {"columns": ["image"], "data": rows}}).encode()
    with server(configured, "models:/served@champion") as address:
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            predictions = json.load(answer)["predictions"]
    for row, expected in zip(predictions[:5], json.loads(out), strict=True):
        assert row["label"] == expected["label"]
        assert row["probability"] == pytest.approx(expected["probability"], abs=1e-6)
        by_label = {top["label"]: top["probability"] for top in expected["top"]}
        assert row["probabilities"] == pytest.approx([by_label[str(i)] for i in range(10)], abs=1e-6)
    assert predictions[5]["label"] is None
    assert predictions[5]["error"].startswith("not_an_image")
