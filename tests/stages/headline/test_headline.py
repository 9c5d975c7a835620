"""The headline: a few rounded numbers of all, with the loss that the epoch was chosen by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sightline.core.errors import UserError
from sightline.stages.headline.stage import write_headline


def test_main_numbers_rounded(tmp_path: Path) -> None:
    detail, model, output = (tmp_path / name for name in ("detail.json", "model.json", "metrics.json"))
    detail.write_text(json.dumps({"accuracy": 0.912345, "accuracy_low": 0.9, "recall/class_0": 1.0}))
    model.write_text(json.dumps({"best_epoch": {"epoch": 2, "val_loss": 0.123456}}))
    write_headline(detail, model, output)
    assert json.loads(output.read_text()) == {"accuracy": 0.9123, "acc_low": 0.9, "val_loss": 0.1235}
    model.write_text("{}")
    write_headline(detail, model, output)
    assert "val_loss" not in json.loads(output.read_text())


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_a_missing_or_damaged_file_is_one_line(tmp_path: Path, damage) -> None:  # type: ignore[no-untyped-def]
    detail, model = tmp_path / "detail.json", tmp_path / "model.json"
    detail.write_text("{}")
    model.write_text("{}")
    damage(detail)
    with pytest.raises(UserError, match="run dvc repro"):
        write_headline(detail, model, tmp_path / "metrics.json")
