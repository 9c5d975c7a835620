"""The contact sheet and the cache's listing, as a person asks for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core.errors import how_to_install
from sightline.core.text import readable_size
from sightline.datasets import raw_set
from sightline.reporting.contact_sheet import draw_sheet
from sightline.stages.preprocess import preview
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.raw_table import RawSet
from tests.stages.preprocess.conftest import Run
from tests.stages.preprocess.sets import Picture, configuration, pictures, write_set

ROOT = Path(__file__).parents[3]


def test_a_row_shows_the_contracts_own_steps(tmp_path: Path):
    raw = write_set(tmp_path / "raw", pictures(30))
    config = configuration("segment=threshold", "segment.use=channel")
    rows = list(preview.rows_of(preview.sample_images(RawSet.read(raw), 4), config))
    assert [row.label for row in rows] == ["a", "a", "b", "b"]
    for row in rows:
        assert [title for title, _ in row.states] == ["original", "segment: threshold", "resize: stretch"]
        picture = next(p for p in pictures(30) if p.id == row.id)
        np.testing.assert_array_equal(row.states[0][1], picture.pixels())


def test_copies_shown_are_those_of_the_set(run: Run, tmp_path: Path):
    from sightline.datasets.processed_set import ProcessedSet

    raw = write_set(tmp_path / "raw", pictures(20))
    config = configuration("augment=digits", "copies=2", "val_fraction=0", "test_fraction=0")
    rows = list(preview.rows_of(preview.sample_images(RawSet.read(raw), 3), config))
    split = ProcessedSet(run(raw, config)).split("train")
    for row in rows:
        for number, (title, pixels) in enumerate(row.states[-2:], 1):
            assert title == f"copy {number}: digits"
            place = split.ids.index(f"{row.id}#aug{number}")
            np.testing.assert_array_equal(pixels, split.images([place])[0])


@pytest.mark.parametrize("side", [1, 6, 300])
def test_a_sheet_is_drawn_the_same_twice(tmp_path: Path, side: int):
    raw = write_set(
        tmp_path / "raw", [Picture(f"ein sehr langer Name {'ü' * 80}{n}", n, "日本", side=side) for n in range(3)]
    )
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    for path in (first, second):
        assert preview.preview(raw, configuration("segment=threshold", "segment.use=channel"), path, 9) == (3, [])
    assert first.read_bytes() == second.read_bytes()
    with Image.open(first) as sheet:
        assert sheet.format == "PNG"
        assert sheet.size[0] > 4 * 176


def test_refused_images_are_shown_as_such(tmp_path: Path):
    raw = write_set(tmp_path / "raw", [Picture("blank", 1, side=1), *pictures(2)])
    rows = list(preview.rows_of(preview.sample_images(RawSet.read(raw), 3), configuration("clean=standard")))
    assert {row.id: row.note for row in rows}["blank"] == "rejected: blank"
    draw_sheet(rows)


class Broken(Picture):
    """An image that ingestion let in, but that this Pillow cannot read."""

    def raw(self) -> raw_set.RawImage:
        return super().raw()._replace(data=b"no image at all")


def test_an_image_that_cannot_be_read_is_a_line(project: Path):
    shutil.rmtree(project / "data/raw")
    write_set(project / "data/raw", [Broken("broken", 1), *pictures(2)])
    result = CliRunner().invoke(app, ["preview"])
    assert result.exit_code == 0, result.output
    first, second = result.output.strip().splitlines()
    assert first.startswith("broken: ")
    assert second == "2 images -> preview.png"
    shutil.rmtree(project / "data/raw")
    write_set(project / "data/raw", [Broken("broken", 1), Broken("other", 2)])
    result = CliRunner().invoke(app, ["preview"])
    assert result.exit_code == 2
    assert result.output.startswith("sightline: no image can be read; the first is broken: ")


@pytest.mark.parametrize(
    ("verb", "module"),
    [("preview", "sightline.stages.preprocess.preview"), ("cache", "sightline.stages.preprocess.cache")],
)
def test_without_the_pipeline_installed_it_is_one_line(verb: str, module: str):
    # A process of its own: modules that are taken away here would be missed by later tests.
    program = f"import sys; sys.modules[{module!r}] = None; from sightline.cli import app; app([{verb!r}])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == f"sightline: {module} is not installed: {how_to_install('pipeline')}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a raw set."""
    root = tmp_path / "project"
    root.mkdir()
    shutil.copytree(ROOT / "conf", root / "conf")
    shutil.copy(ROOT / "params.yaml", root)
    write_set(root / "data" / "raw", pictures(30))
    monkeypatch.chdir(root)
    return root


def test_the_command_draws_what_params_and_changes_ask_for(project: Path):
    result = CliRunner().invoke(app, ["preview", "preprocess/denoise=median", "preprocess.size=9", "-n", "2"])
    assert result.exit_code == 0, result.output
    assert "2 images -> preview.png" in result.output
    assert (project / "preview.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["preprocess/denoise=medan"], "preprocess.denoise: no option 'medan'; did you mean 'median'?"),
        (["preprocess.size=0"], "preprocess.size: must be 1 to 4096 pixels, not 0"),
    ],
)
def test_a_wrong_change_is_one_line(project: Path, words: list[str], message: str):
    result = CliRunner().invoke(app, ["preview", *words])
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_without_images_it_says_what_to_run(project: Path):
    for shard in (project / "data/raw").glob(raw_set.SHARD_GLOB):
        shard.unlink()
    result = CliRunner().invoke(app, ["preview"])
    assert result.exit_code == 2
    assert "run the ingest stage" in result.output


def test_the_cache_is_shown_and_pruned(run: Run, project: Path):
    (project / "dvc.yaml").touch()
    assert "is empty" in CliRunner().invoke(app, ["cache"]).output
    cache = PixelCache()
    run(project / "data/raw", configuration(), cache.root)
    for entry in cache.entries():
        os.utime(cache.root / entry.key, (1e9, 1e9))
    shown = CliRunner().invoke(app, ["cache"]).output
    entries = cache.entries()
    assert f"{len(entries)}" in shown
    assert readable_size(sum(entry.bytes for entry in entries), binary=True) in shown
    assert "2001-09-09" in shown
    pruned = CliRunner().invoke(app, ["cache", "--prune", "0"])
    assert f"removed {len(entries)} entries" in pruned.output
    assert "is empty" in pruned.output


@pytest.mark.parametrize("engine", ["batch", "albumentations"])
def test_epochs_shown_are_those_of_the_training(run: Run, tmp_path: Path, engine: str):
    from sightline.datasets.processed_set import ProcessedSet
    from sightline.imaging.augment import torch_backend
    from sightline.imaging.augment.options import POLICIES
    from sightline.stages.train.dataloader import SampleDataset

    raw = write_set(tmp_path / "raw", pictures(20))
    config = configuration("val_fraction=0", "test_fraction=0")
    policy = POLICIES["standard"](**yaml.safe_load((ROOT / "conf/train/augment/standard.yaml").read_text()))
    training = preview.TrainingAugmentation(policy, engine, seed=3)
    rows = list(preview.rows_of(preview.sample_images(RawSet.read(raw), 3), config, training))
    split = ProcessedSet(run(raw, config)).split("train")
    seen = SampleDataset(split, 3, policy if engine == "albumentations" else None)
    for row in rows:
        for epoch, (title, pixels) in enumerate(row.states[-3:]):
            images, _, keys = seen.__getitems__([(epoch, split.ids.index(row.id))])
            if engine == "batch":
                images = torch_backend.build(policy)(images, keys).round().byte()
            assert title == f"epoch {epoch + 1}: standard"
            np.testing.assert_array_equal(pixels, images[0].numpy())
        assert len({pixels.tobytes() for _, pixels in row.states[-3:]}) == 3
