"""Commands in a folder that is no project: one line, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli import app


@pytest.mark.parametrize(
    ("words", "refused", "line"),
    [
        (["compare", "one", "two"], True, "mlflow.db is missing: go to the project's root"),
        (["adopt", "one"], True, "params.yaml is missing: run the command in the project's root folder"),
        (["sync"], False, "nothing is queued"),
        (["load", "nothing", "--table", "images", "--url", "sqlite:///images.db"], True, "no such file or folder"),
        (["runs"], True, "there are no runs yet"),
    ],
)
def test_a_command_in_the_wrong_folder_makes_nothing_there(
    words: list[str], refused: bool, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_TRACKING_URI", "SIGHTLINE_SWEEP_STORAGE"):
        monkeypatch.delenv(variable, raising=False)
    done = CliRunner().invoke(app, words)
    assert line in done.output
    assert done.exit_code == (2 if refused else 0)
    assert not list(tmp_path.iterdir())
