"""Settings that a set was made with: told by the record beside it, or not at all; never by the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.config.compose import compose
from sightline.datasets import data_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose raw and processed sets have been made."""
    config = compose(["ingest.limit=50", "preprocess.size=24", "ingest.path=${oc.env:SECRET}"], ROOT / "conf")
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "shard-1.parquet").write_text("x")
    (raw / "classes.json").write_text("{}")
    data_settings.save_settings(tmp_path / data_settings.RAW, config, "ingest", data_settings.raw_digest(raw))
    data_settings.save_settings(
        tmp_path / data_settings.PROCESSED, config, "preprocess", "p1", data_settings.raw_digest(raw)
    )
    return tmp_path


def test_the_settings_that_a_set_was_made_with(root: Path) -> None:
    settings = data_settings.load_settings(root, "p1")
    assert settings["ingest.limit"] == "50"
    assert settings["preprocess.size"] == "24"
    assert settings["ingest.path"] == "{oc.env:SECRET}"
    assert {name.split(".")[0] for name in settings} == {"ingest", "preprocess"}


def test_a_record_of_another_set_is_no_record(root: Path) -> None:
    settings = data_settings.load_settings(root, "p2")
    assert set(settings) == {"ingest", "preprocess"}
    assert all(value.startswith("not known: data/processed is not what") for value in settings.values())


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"digest": "p1"}'])
def test_a_record_that_is_gone_or_damaged_is_no_record(root: Path, content: str | None) -> None:
    (root / data_settings.PROCESSED).unlink()
    if content is not None:
        (root / data_settings.PROCESSED).write_text(content)
    assert set(data_settings.load_settings(root, "p1")) == {"ingest", "preprocess"}


def test_a_raw_set_made_anew_says_nothing_of_the_older_one(root: Path) -> None:
    (root / "data" / "raw" / "shard-2.parquet").write_text("y")
    config = compose(["ingest.limit=60"], ROOT / "conf")
    data_settings.save_settings(
        root / data_settings.RAW, config, "ingest", data_settings.raw_digest(root / "data" / "raw")
    )
    settings = data_settings.load_settings(root, "p1")
    assert settings["preprocess.size"] == "24"
    assert settings["ingest"].startswith("not known: what data/processed was made from is not what")
    assert "ingest.limit" not in settings


def test_a_raw_sets_digest_follows_its_content(root: Path) -> None:
    raw = root / "data" / "raw"
    before = data_settings.raw_digest(raw)
    assert data_settings.raw_digest(raw) == before
    (raw / "classes.json").write_text("[]")
    assert data_settings.raw_digest(raw) != before


@pytest.mark.parametrize(
    ("verb", "section"), [("find-lr", "preprocess"), ("find-batch-size", "ingest"), ("preview", "baseline")]
)
def test_verbs_take_no_knobs_that_change_nothing(project: Path, verb: str, section: str) -> None:
    result = CliRunner().invoke(app, [verb, f"{section}.seed=32"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"sightline: {section}.seed: a setting of {section}, which does not run here; ")
    assert result.stderr.count("\n") == 1
