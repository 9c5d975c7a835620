"""Commands in a folder that is no project: one line, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli import app


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["compare", "one", "two"], "mlflow.db is missing: go to the project's root"),
        (["adopt", "one"], "params.yaml is missing: run the command in the project's root folder"),
        (["sync"], "contains no dvc.yaml: run it in the project's folder"),
        (["cache"], "contains no dvc.yaml: run it in the project's folder"),
        (["load", "nothing", "--table", "images", "--url", "sqlite:///images.db"], "no such file or folder"),
        (["runs"], "there are no runs yet"),
    ],
)
def test_a_command_in_the_wrong_folder_makes_nothing_there(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_TRACKING_URI", "SIGHTLINE_SWEEP_STORAGE"):
        monkeypatch.delenv(variable, raising=False)
    done = CliRunner().invoke(app, words)
    assert line in done.output
    assert done.exit_code == 2
    assert not list(tmp_path.iterdir())
