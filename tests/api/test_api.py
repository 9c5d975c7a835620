"""The Python interface: results as objects, errors in one line, nothing imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import sightline
from sightline.config import location, renames
from sightline.core.errors import ConfigError
from sightline.project_setup.recognition import source_knobs
from tests.conftest import ROOT


@dataclass(frozen=True)
class Made:
    raw: sightline.RawDataset
    data: sightline.ProcessedDataset
    model: sightline.TrainedModel
    evaluation: sightline.ModelEvaluation
    bundle: sightline.ExportedModel


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("python")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        raw = sightline.ingest("digits", limit=120, workers=0)
        data = sightline.preprocess(raw, size=np.int64(8), channels=1, resize="stretch")
        model = sightline.train(data, model="cnn", model_options={"width": 8}, max_epochs=1)
        evaluation = sightline.evaluate(model, data, robustness_images=0, resamples=100, explain=False, gallery=0)
        bundle = sightline.export(evaluation, parity_images=10, int8={"enabled": False})
        yield Made(raw, data, model, evaluation, bundle)


def test_results_are_folders_of_one_working_folder(made: Made) -> None:
    results = [made.raw, made.data, made.model, made.evaluation, made.bundle]
    assert {str(each.path.parent) for each in results} == {"sightline-runs"}
    assert [each.path.name.partition("-")[0] for each in results] == [
        "raw", "processed", "model", "evaluation", "bundle"
    ]  # fmt: skip


def test_the_same_call_gives_the_same_folder_and_another_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", logger="sightline")
    first = sightline.ingest("digits", limit=60, workers=0, folder="work")
    again = sightline.ingest("digits", limit=60, folder=Path("work"))
    small, large = (sightline.preprocess(first, size=size) for size in (8, 12))
    assert first.path == again.path
    assert (small.shape, large.shape) == ((8, 8, 3), (12, 12, 3))
    assert "ingest: 60 images of 10 classes in 1 shard" in caplog.messages  # what the stage prints
    assert any(line.startswith("preprocess: 60 images of 12 x 12 px (") for line in caplog.messages)
    assert {p.name for p in Path("work").iterdir()} == {each.path.name for each in (first, small, large)}


def test_sets_are_read_back_as_arrays_tables_and_torch(made: Made) -> None:
    data, table = made.data, made.data.to_pandas()
    for split in ("train", "val", "test"):
        images, labels = data.images(split), data.labels(split)
        rows = table[table["split"] == split]
        assert images.shape == (len(rows), 8, 8, 1)
        assert images.dtype == np.uint8
        assert [data.classes[label] for label in labels] == rows["label"].tolist()
        torch_split = data.to_torch(split)
        image, label = torch_split[-1]
        assert image.numpy().tolist() == images[-1].transpose(2, 0, 1).tolist()
        assert label == labels[-1]
        assert len(list(torch_split)) == len(rows)  # ends: IndexError comes
    assert data.counts().to_numpy().sum() == len(data) == len(table) == len(made.raw.to_pandas()) == 120
    assert {image.id for image in made.raw} == set(table["id"])
    assert made.raw.rejected().empty
    with pytest.raises(sightline.UserError, match="'dev' is not one of train, val, test"):
        data.images("dev")


def test_what_a_notebook_shows(made: Made) -> None:
    assert "120 images of 10 classes" in repr(made.raw)
    assert "8 x 8 x 1" in repr(made.data)
    assert "accuracy" in repr(made.evaluation)
    assert "cnn" in repr(made.model)
    explanation = made.model.explain(made.data.images("test")[:2])
    assert explanation.maps.shape == (2, 8, 8)
    for thing in (made.raw, made.data, made.evaluation, explanation):
        assert "<img alt=" in thing._repr_html_()
    assert "<td>val_accuracy</td>" in made.model._repr_html_()
    assert "equals the trained model" in made.bundle._repr_html_()
    assert made.model.history.columns.tolist()[:2] == ["epoch", "train_loss"]


def test_the_bundle_predicts_as_the_evaluation_says(made: Made) -> None:
    split = made.evaluation.to_pandas()
    found = list(made.bundle.load().predict(list(made.data.images("test"))))
    assert [each.label for each in found] == split["predicted"].tolist()
    accuracy = (split["label"] == split["predicted"]).mean()
    assert made.evaluation.metrics["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert made.evaluation.report.is_file()


def test_what_a_stage_wrote_is_opened_and_what_is_nothing_refused(made: Made, tmp_path: Path) -> None:
    assert sightline.ProcessedDataset(made.data.path).classes == made.data.classes
    for kind, step in ((sightline.RawDataset, "ingest"), (sightline.TrainedModel, "train")):
        with pytest.raises(sightline.UserError, match=rf"name a folder that sightline\.{step} "):
            kind(tmp_path)
    alone = sightline.ModelEvaluation(made.evaluation.path, made.model, sightline.ProcessedDataset(made.data.path))
    with pytest.raises(sightline.UserError, match="export compares predictions of raw images"):
        sightline.export(alone)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"epochs": 3}, r"train\.epochs: unknown key; (did you mean 'max_epochs'\? )?allowed: "),
        ({"model": "cnnn"}, r"train\.model: no option 'cnnn'; did you mean 'cnn'\?"),
        ({"lr": 0.0}, r"train\.lr: must be positive"),
        ({"model_options": {"depth": 3}}, r"train\.model\.depth: "),
        ({"rate": 0.1}, r"^train\.rate is now called train\.lr: rename it in the call$"),
    ],
)
def test_bad_knobs_are_refused_in_the_stages_words(
    made: Made, knobs: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(renames.KNOBS, "train.rate", "train.lr")
    with pytest.raises(ConfigError, match=message) as caught:
        sightline.train(made.data, **knobs)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_source_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(sightline.UserError, match="nowhere"):
        sightline.ingest(tmp_path / "nowhere", folder=tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_place_is_told_from_its_name_and_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "idx", "hf"):
        Path(name).mkdir()
    Path("idx/train-images-idx3-ubyte.gz").touch()
    Path("hf/train.parquet").touch()
    for source, kind in {
        "digits": "digits", "./digits": "folder", Path("digits"): "folder", "idx/": "idx", "hf": "huggingface",
        "photos.tar.gz": "archive", "photos.ZIP": "archive", "list.csv": "table", "nowhere": "folder",
        "s3://bucket/birds": "folder", "https://host/birds.zip?x=1": "archive", "gs://b/list.parquet": "table",
        "mongodb+srv://host/db": "mongodb", "postgresql+psycopg://host/db": "sql", "sqlite:///x.db": "sql",
    }.items():  # fmt: skip
        assert source_knobs(source)["source"] == kind, source


def test_the_projects_own_options_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert location.conf_folder() == ROOT / "conf"
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/config.yaml").touch()  # another program's
    assert location.conf_folder() == ROOT / "conf"
    monkeypatch.chdir(ROOT)
    assert location.conf_folder() == Path("conf")


def test_to_import_it_costs_nothing_and_all_names_are_there() -> None:
    code = (
        "import sys, sightline; heavy = {'torch', 'numpy', 'hydra', 'onnxruntime', 'omegaconf'} & set(sys.modules);"
        "assert not heavy, heavy; assert set(sightline.__all__) <= set(dir(sightline));"
        "[getattr(sightline, name) for name in sightline.__all__]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'fit'"):
        sightline.fit  # noqa: B018
