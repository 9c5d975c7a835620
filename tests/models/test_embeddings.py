"""`sightline features`: a row an image, the model's own numbers, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from sightline.cli import app
from sightline.core import files
from sightline.datasets.processed_set import CLASSES, INDEX, INDEX_SCHEMA, TRANSFORM
from sightline.datasets.raw_set import write_classes
from sightline.models import saved_model
from sightline.models.embeddings import write_embeddings
from sightline.models.model_info import TrainingLineage
from tests.models.conftest import OPTIONS, make

LINEAGE = TrainingLineage(profile={"threads": 1})
SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model and a processed set of 7 images in two shards, its classes other than the model's."""
    model, data = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("data")
    saved_model.save_model(model, make("cnn", SHAPE), OPTIONS["cnn"], SHAPE, list("abcde"), LINEAGE)
    images = np.random.default_rng(0).integers(0, 256, (7, *SHAPE), np.uint8)
    np.save(data / "shard-a.npy", images[:4])
    np.save(data / "shard-b.npy", images[4:])
    splits = ["train", "test", "val", "train", "train", "test", "train"]
    rows = [
        {"id": f"i{n}", "label": n % 2, "split": splits[n], "shard": f"shard-{'ab'[n // 4]}.npy", "row": n % 4}
        for n in range(7)
    ]
    blank = {"bool": False, "string": "", "int32": 0, "int64": 0}
    full = [{field.name: row.get(field.name, blank.get(str(field.type))) for field in INDEX_SCHEMA} for row in rows]
    pq.write_table(pa.Table.from_pylist(full, schema=INDEX_SCHEMA), data / INDEX)
    write_classes(["cat", "dog"], data / CLASSES)
    files.write_json(data / TRANSFORM, {})
    return model, data


@pytest.fixture(autouse=True)
def _same_threads() -> object:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_a_row_an_image(folders: tuple[Path, Path], tmp_path: Path, batch_size: int) -> None:
    model, data = folders
    out = tmp_path / "new" / "features.parquet"
    assert write_embeddings(model, data, out, batch_size) == 7
    table = pq.read_table(out)
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 8)
    assert table["id"].to_pylist() == ["i0", "i3", "i4", "i6", "i2", "i1", "i5"]
    assert table["split"].to_pylist() == ["train"] * 4 + ["val"] + ["test"] * 2
    assert table["label"].to_pylist() == ["cat", "dog", "cat", "cat", "cat", "dog", "dog"]
    images = np.concatenate([np.load(data / f"shard-{name}.npy") for name in "ab"])[[0, 3, 4, 6, 2, 1, 5]]
    with torch.inference_mode():
        expected = saved_model.load_model(model)[0].features(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(np.stack(table["embedding"].to_numpy()), expected, rtol=1e-4, atol=1e-5)
    assert table.schema.metadata[b"model_sha256"].decode() == files.sha256_file(model / saved_model.WEIGHTS)
    assert pq.ParquetFile(out).num_row_groups == {1: 7, 2: 4, 100: 3}[batch_size]  # a batch each


def test_twice_gives_the_same_bytes_and_the_verb_writes_them_too(folders: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = folders
    write_embeddings(model, data, tmp_path / "1.parquet")
    done = CliRunner().invoke(app, ["features", str(model), str(data), "--output", str(tmp_path / "2.parquet")])
    assert done.exit_code == 0
    assert "7 images" in done.output
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_what_cannot_be_is_one_line_and_leaves_no_file(folders: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = folders
    other = tmp_path / "other"
    saved_model.save_model(other, make("cnn", (9, 8, 1)), OPTIONS["cnn"], (9, 8, 1), list("abcde"), LINEAGE)
    out = tmp_path / "f.parquet"
    for arguments, printed in (
        ([str(other), str(data)], "holds images of 8x8x1, the model takes 9x8x1"),
        (
            [str(tmp_path / "no"), str(data)],
            "is missing: name the folder that training wrote (models), or run the train stage",
        ),
        ([str(model), str(tmp_path / "no")], "is missing: run the preprocess stage"),
    ):
        done = CliRunner().invoke(app, ["features", *arguments, "--output", str(out)])
        assert done.exit_code == 2
        assert printed in done.output
        assert done.output.count("\n") == 1
    assert not out.exists()
    assert CliRunner().invoke(app, ["features", str(model), str(data), "-o", "/proc/f.parquet"]).exit_code == 2
