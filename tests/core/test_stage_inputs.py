"""A stage's inputs, held against the digests in dvc.lock: each of its dependencies, by name, with what mends it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightline.core import stage_inputs
from sightline.core.errors import UserError

STAGES: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "dvc.yaml").read_text())["stages"]
FOLDERS = {"data/raw", "data/processed", "reports/baselines", "reports/figures", "reports/plots", "models/bundle"}
MAKERS = {
    out if isinstance(out, str) else next(iter(out)): stage
    for stage, one in STAGES.items()
    for out in [*one.get("outs", []), *one.get("metrics", [])]
}
READS = [(stage, path) for stage, one in STAGES.items() for path in one.get("deps", []) if path in MAKERS]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that DVC leaves: every output of the pipeline, a lock, the lists of folders."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    locked: dict[str, Any] = {}
    for path, maker in MAKERS.items():
        place = tmp_path / path
        names = ["classes.json", "inner/index.parquet"] if path in FOLDERS else [""]
        for name in names:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(f"{path} {name}")
        digest = md5(place.read_bytes()) if path not in FOLDERS else stage_inputs.md5_of_folder(place)
        if path in FOLDERS:
            listed = [{"md5": md5((place / name).read_bytes()), "relpath": name} for name in names]
            kept = tmp_path / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(listed, sort_keys=True))
        locked.setdefault(maker, {"cmd": "", "outs": []})["outs"].append({"path": path, "md5": digest})
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": locked}))
    return tmp_path


def flip(path: Path) -> None:
    """Changes a bit, as a disk does: size, time and inode stay."""
    content, about = path.read_bytes(), path.stat()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize("lists", ["sound", "none", "damaged"])
def test_a_flipped_bit_in_anything_that_a_stage_reads_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, lists: str
) -> None:
    listed = lists == "sound"
    if lists == "none":  # as in a project whose cache is elsewhere, or after --no-commit
        (project / ".dvc/cache").rename(project / "gone")
    if lists == "damaged":
        for path in (project / ".dvc/cache").rglob("*.dir"):
            flip(path)
    assert len(READS) > 15
    for stage, path in READS:
        monkeypatch.setenv("DVC_STAGE", stage)
        stage_inputs.require_intact()
        file = project / path / "inner/index.parquet" if path in FOLDERS else project / path
        flip(file)
        named = file.relative_to(project) if listed or path not in FOLDERS else path
        line = f"{named} has changed since the {MAKERS[path]} stage wrote it: rm -rf {path} && dvc repro "
        with pytest.raises(UserError) as refused:
            stage_inputs.require_intact()
        assert str(refused.value).startswith(line)
        flip(file)
    monkeypatch.delenv("DVC_STAGE")
    flip(project / "models/model.json")
    stage_inputs.require_intact()  # by hand: DVC knows nothing of what was made since


def test_the_cache_is_where_the_configuration_says(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".dvc/cache").rename(project / "elsewhere")
    (project / ".dvc/config").write_text("[core]\n    remote = a\n['remote \"a\"']\n    url = /x\n")
    (project / ".dvc/config.local").write_text("[cache]\n    dir = ../elsewhere\n")
    monkeypatch.setenv("DVC_STAGE", "train")
    flip(project / "data/processed/classes.json")
    with pytest.raises(
        UserError, match=r"^data/processed/classes.json has changed since the preprocess stage wrote it"
    ):
        stage_inputs.require_intact()


def test_the_stage_without_settings_looks_at_its_inputs_too(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline import headline

    monkeypatch.setenv("DVC_STAGE", "headline")
    flip(project / "models/model.json")
    with pytest.raises(SystemExit) as ended:
        headline.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(
        "headline: models/model.json has changed since the train stage wrote it: "
    )
