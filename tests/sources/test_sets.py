"""Published sets: IDX, torchvision, Hugging Face, scikit-learn's digits."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sightline.core.errors import UserError
from sightline.datasets.raw_set import ImageRecord
from sightline.sources.digits import DigitsSource
from sightline.sources.huggingface import HuggingfaceOption, HuggingfaceSource
from sightline.sources.idx import IdxOption, IdxSource
from sightline.sources.torchvision import TorchvisionOption, TorchvisionSource
from tests.sources.test_content import track
from tests.stages.ingest.helpers import picture, run, shared_data


def idx(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(root: Path, prefix: str, count: int, zipped: bool = False, shape: tuple[int, ...] = (5, 4)) -> None:
    root.mkdir(exist_ok=True, parents=True)
    rng = np.random.default_rng(len(prefix))
    for kind, array in {
        "images-idx3": rng.integers(0, 256, (count, *shape), np.uint8),
        "labels-idx1": np.arange(count, dtype=np.uint8) % 3,
    }.items():
        data = idx(array)
        (root / f"{prefix}-{kind}-ubyte{'.gz' if zipped else ''}").write_bytes(gzip.compress(data) if zipped else data)


def change(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Edits a file's content, compressed or not."""
    zipped = path.suffix == ".gz"
    data = edit(gzip.decompress(path.read_bytes()) if zipped else path.read_bytes())
    path.write_bytes(gzip.compress(data) if zipped else data)


def pixels(data: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(data)))


class TestIdx:
    def test_both_splits_zipped_or_not(self, tmp_path: Path) -> None:
        write_idx(tmp_path / "in", "train", 7)
        write_idx(tmp_path / "in", "train", 7, zipped=True)  # as torchvision leaves them: the pair counts once
        write_idx(tmp_path / "in", "t10k", 4, zipped=True)
        (tmp_path / "in/._train-images-idx3-ubyte").write_bytes(b"a Mac's")
        result = run(IdxSource(tmp_path / "in", []), tmp_path / "out")
        assert len(result.images) == 11
        assert {i.split for i in result.images.values() if i.id.startswith("t10k")} == {"test"}
        expected = np.random.default_rng(len("train")).integers(0, 256, (7, 5, 4), np.uint8)
        assert np.array_equal(pixels(result.images["train-000003"].data), expected[3])
        assert result.images["train-000004"].label == "1"

    def test_names_and_colour(self, tmp_path: Path) -> None:
        write_idx(tmp_path / "in", "x", 3, shape=(4, 4, 3))
        result = run(IdxSource(tmp_path / "in", ["a", "b"]), tmp_path / "out")
        assert {i.id: i.label for i in result.images.values()} == {"x-000000": "a", "x-000001": "b"}
        assert result.rejected == {"x-000002": "no_label"}

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ("no folder", "is not a folder"),
            ("empty", r"contains no \*-images-idx3-ubyte"),
            ("no labels", "has no labels"),
            ("fewer labels", "holds 2 labels for 3 images"),
            ("cut", "ends before its last item"),
            ("cut gz", "cannot be read"),
            ("floats", "not an IDX file of bytes"),
            ("huge", "not grey or RGB images"),
            ("flat", r"holds arrays of shape \[5, 0\], not grey or RGB images"),
            ("wide", r"holds arrays of shape \[1, 32769\], not grey or RGB images"),
            ("five", "not an IDX file of bytes"),
            ("many", "train-images-idx3-ubyte: ends before its last item, of 2,147,483,647 in its header"),
            ("many gz", "train-images-idx3-ubyte.gz: ends before its last item, of 2,147,483,647 in its header"),
            ("more", "train-images-idx3-ubyte: continues after the 3 items of its header"),
            ("more labels", "train-labels-idx1-ubyte: continues after the 3 items of its header"),
            ("more gz", "train-images-idx3-ubyte.gz: continues after the 3 items of its header"),
            ("wrong gz", "train-images-idx3-ubyte.gz: cannot be read: CRC check failed"),
            ("no trailer gz", "train-labels-idx1-ubyte.gz: cannot be read: Compressed file ended before"),
            ("no images", "test-labels-idx1-ubyte has no images next to it: name the two like train-images-idx3-ubyte"),
            ("several", "has several labels: train-labels-idx1-ubyte, y_train.idx1-ubyte; leave one"),
        ],
    )
    def test_faults_are_one_line(self, fault: str, message: str, tmp_path: Path) -> None:
        root = tmp_path / "in"
        if fault != "no folder":
            root.mkdir()
        if fault not in ("no folder", "empty"):
            write_idx(root, "train", 3, zipped=fault.endswith("gz"))
        images, labels = root / "train-images-idx3-ubyte", root / "train-labels-idx1-ubyte"
        match fault:
            case "no labels":
                labels.unlink()
            case "fewer labels":
                labels.write_bytes(idx(np.zeros(2, np.uint8)))
            case "cut":
                images.write_bytes(images.read_bytes()[:-1])
            case "cut gz":
                packed = images.with_name(images.name + ".gz")
                packed.write_bytes(packed.read_bytes()[:-12])
            case "floats":
                images.write_bytes(b"\0\0\x0d\x03" + images.read_bytes()[4:])
            case "huge":
                images.write_bytes(struct.pack(">HBBIII", 0, 8, 3, 3, 2**31, 2**31))
            case "flat" | "wide":
                shape = (3, 5, 0) if fault == "flat" else (3, 1, 2**15 + 1)
                images.write_bytes(idx(np.zeros(shape, np.uint8)))
            case "five":
                images.write_bytes(idx(np.zeros((3, 1, 1, 1, 1), np.uint8)))
            case "many" | "many gz":
                header = struct.pack(">I", 2**31 - 1)
                for path in root.iterdir():
                    change(path, lambda data: data[:4] + header + data[8:])
            case "more" | "more labels":
                change(labels if "labels" in fault else images, lambda data: data + b"0")
            case "more gz":
                change(images.with_name(f"{images.name}.gz"), lambda data: data + b"0")
            case "wrong gz":
                packed = images.with_name(f"{images.name}.gz")
                packed.write_bytes(packed.read_bytes()[:-8] + b"1234" + packed.read_bytes()[-4:])
            case "no trailer gz":
                packed = labels.with_name(f"{labels.name}.gz")
                packed.write_bytes(packed.read_bytes()[:-8])
            case "no images":
                labels.with_name("test-labels-idx1-ubyte").write_bytes(labels.read_bytes())
            case "several":
                labels.with_name("y_train.idx1-ubyte").write_bytes(labels.read_bytes())
        with pytest.raises(UserError, match=message):
            list(IdxSource(root, [], limit=2).records())

    @pytest.mark.parametrize(
        ("names", "splits"),
        [
            (["X_any_name-idx3-ubyte"], [None]),
            (["X_latest_test-idx3-ubyte"], [None]),
            (["X_train.idx3", "X_test.idx3"], ["test", "train"]),
            (["set-training-images.idx3-ubyte", "set-validation-images.idx3-ubyte"], ["train", "val"]),
            (["images-strain-idx3-ubyte", "images-contest-idx3-ubyte"], [None, None]),
            (["train-images-idx3-ubyte"], ["train"]),
            (["images-idx3-ubyte"], [None]),
        ],
    )
    def test_names_that_others_give(self, names: list[str], splits: list[str | None], tmp_path: Path) -> None:
        write_idx(tmp_path, "p", 3)
        pixels_, labels = ((tmp_path / f"p-{kind}-ubyte").read_bytes() for kind in ("images-idx3", "labels-idx1"))
        root = tmp_path / "in"
        root.mkdir()
        for name in names:
            (root / name).write_bytes(pixels_)
            partner = name.replace("X_", "y_").replace("images", "labels").replace("idx3", "idx1")
            (root / partner).write_bytes(labels)
        made = list(IdxSource(root, []).records())
        assert len({record.id for record in made}) == 3 * len(names)
        assert [record.split for record in made if isinstance(record, ImageRecord)][::3] == splits

    @pytest.mark.parametrize("shape", [(1, 1), (1, 2**15)])
    def test_sides_from_one_pixel_to_the_largest_are_read(self, shape: tuple[int, int], tmp_path: Path) -> None:
        write_idx(tmp_path, "p", 2, shape=shape)
        (first, _) = IdxSource(tmp_path, []).records()
        assert isinstance(first, ImageRecord)
        assert pixels(first.data).shape == shape

    def test_a_fingerprint_is_of_the_content(self, tmp_path: Path) -> None:
        write_idx(tmp_path / "1", "p", 3)
        write_idx(tmp_path / "2", "p", 3)
        write_idx(tmp_path / "3", "p", 4)
        first, same, other = (IdxSource(tmp_path / name, []).fingerprint() for name in "123")
        assert first == same != other

    def test_the_option_needs_a_folder_and_opens_it(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"path: has no value; set ingest\.path to the folder of the IDX files"):
            IdxOption("idx", path=None, class_names=[])
        write_idx(tmp_path, "p", 9)
        config: Any = SimpleNamespace(limit=3)
        records = IdxOption("idx", path=str(tmp_path), class_names=["a", "b", "c"]).open(config).records()
        assert sorted(record.label for record in records if isinstance(record, ImageRecord)) == ["a", "b", "c"]

    def test_a_folder_that_dvc_tracks_need_not_be_here_to_be_watched(self, tmp_path: Path) -> None:
        write_idx(root := tmp_path / "set", "p", 3)
        before = IdxSource(root, []).fingerprint()
        track(root)
        shutil.rmtree(root)
        assert IdxSource(root, []).fingerprint() == before
        with pytest.raises(UserError, match=r"is not a folder; run `dvc pull .*set\.dvc`"):
            list(IdxSource(root, []).records())
        with pytest.raises(UserError, match=r"is not a folder; name the one that holds the IDX files"):
            list(IdxSource(tmp_path / "other", []).records())
        root.mkdir()
        with pytest.raises(UserError, match="contains no"):
            IdxSource(root, []).fingerprint()

    def test_a_file_that_may_not_be_read_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_idx(tmp_path, "p", 3)

        def refused(path: Path, *rest: Any) -> Any:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "open", refused)
        with pytest.raises(UserError, match=r"p-\w+-idx\d-ubyte: .*[Pp]ermission"):
            list(IdxSource(tmp_path, []).records())

    def test_a_file_that_is_cut_after_it_was_checked_is_noticed(self, tmp_path: Path) -> None:
        write_idx(tmp_path, "p", 3, shape=(400, 400))  # more than is read ahead
        records = IdxSource(tmp_path, []).records()
        next(records)
        with (tmp_path / "p-images-idx3-ubyte").open("r+b") as file:
            file.truncate(16 + 400 * 400 + 5)
        with pytest.raises(UserError, match="p-images-idx3-ubyte: ends before its last item; download it again"):
            next(records)

    def test_one_pair_needs_no_like_names(self, tmp_path: Path) -> None:
        write_idx(tmp_path, "p", 3)
        (tmp_path / "p-labels-idx1-ubyte").rename(tmp_path / "answers.idx1-ubyte")
        assert [record.id for record in IdxSource(tmp_path, []).records()] == [f"p-{n:06}" for n in range(3)]

    def test_a_limit_is_a_sample_of_all_files(self, tmp_path: Path) -> None:
        write_idx(tmp_path, "train", 50)
        write_idx(tmp_path, "t10k", 50)
        source = IdxSource(tmp_path, [], limit=40)
        records = [record for record in source.records() if isinstance(record, ImageRecord)]
        assert Counter(record.label for record in records) == {"0": 14, "1": 13, "2": 13}
        assert {record.id[:4] for record in records} == {"trai", "t10k"}
        assert source.notes == ["ingest.limit: 40 of 100 inputs, sampled evenly from each of 3 classes"]

    def test_fashion_mnist(self, tmp_path: Path) -> None:
        root = shared_data("fashion-mnist")
        result = run(IdxSource(root, [], limit=500), tmp_path / "out")
        assert result.summary["accepted"] == 500
        assert len(result.summary["classes"]) == 10
        assert set(result.summary["audit"]["sizes"]["most_common"]) == {"28x28"}


class TestTorchvision:
    @staticmethod
    def option(path: Path, dataset: str = "FashionMNIST", download: bool = False) -> TorchvisionOption:
        return TorchvisionOption("torchvision", str(path), dataset, None, download)

    def test_a_set_that_is_there(self, tmp_path: Path) -> None:
        for prefix in ("train", "t10k"):
            write_idx(tmp_path / "FashionMNIST/raw", prefix, 6, shape=(28, 28))
        source = TorchvisionSource(self.option(tmp_path), 2**20)
        result = run(source, tmp_path / "out")
        assert set(result.images) == {f"{split}-{n:06}" for split in ("train", "test") for n in range(6)}
        assert result.images["train-000001"].label == "Trouser"
        assert result.images["test-000000"].split == "test"
        expected = np.random.default_rng(len("train")).integers(0, 256, (6, 28, 28), np.uint8)
        assert np.array_equal(pixels(result.images["train-000005"].data), expected[5])
        limited = TorchvisionSource(self.option(tmp_path), 2**20, limit=6)
        labels = Counter(r.label for r in limited.records() if isinstance(r, ImageRecord))
        assert labels == {"T-shirt/top": 2, "Trouser": 2, "Pullover": 2}
        assert limited.notes == ["ingest.limit: 6 of 12 inputs, sampled evenly from each of 3 classes"]

    def test_files_are_taken_as_they_are(self, tmp_path: Path) -> None:
        for number, name in enumerate(["AnnualCrop", "Forest"]):
            path = tmp_path / f"eurosat/2750/{name}/{name}_1.jpg"
            path.parent.mkdir(parents=True)
            path.write_bytes(picture(number, kind="JPEG"))
        (tmp_path / "eurosat/2750/Forest/Forest_2.jpg").write_bytes(b"\0" * 2**20)
        source = TorchvisionSource(self.option(tmp_path, "EuroSAT"), max_bytes=2**19)
        result = run(source, tmp_path / "out")
        assert [(i.data, i.label, i.split) for i in result.images.values()] == [
            (picture(0, kind="JPEG"), "AnnualCrop", None),
            (picture(1, kind="JPEG"), "Forest", None),
        ]
        assert result.rejected == {"all-000002": "too_many_bytes"}

    def test_a_set_that_is_not_there(self, tmp_path: Path) -> None:
        source = TorchvisionSource(self.option(tmp_path), 2**20)
        with pytest.raises(
            UserError,
            match=r"FashionMNIST: not found in .*; download it with \+\+ingest\.source_options\.download=true",
        ):
            list(source.records())

    def test_offline(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # It remembers the proxies of its first use: those of before must not be used here, nor these afterwards.
        monkeypatch.setattr(urllib.request, "_opener", None)
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
        source = TorchvisionSource(self.option(tmp_path, download=True), 2**20)
        with pytest.raises(UserError, match="cannot be fetched"):
            list(source.records())

    def test_watching_does_not_import_torchvision(self, tmp_path: Path) -> None:
        code = (
            "import sys; from sightline.sources.torchvision import *; from sightline.stages.ingest.config import *\n"
            f"o = TorchvisionOption('torchvision', {str(tmp_path)!r}, 'MNIST', None, False)\n"
            "TorchvisionSource(o, 1).fingerprint(); assert 'torch' not in sys.modules, 'torch'"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


FEATURES = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}


class TestHuggingface:
    @staticmethod
    def source(path: Path, limit: int | None = None, **option: Any) -> HuggingfaceSource:
        values = {"image_column": "image", "label_column": "label", "group_column": None, "id_column": None}
        return HuggingfaceSource(HuggingfaceOption("huggingface", str(path), **{**values, **option}), 2**20, limit)

    def table(self, first: int, count: int, described: bool = True) -> pa.Table:
        rows = [
            {"image": {"bytes": picture(n), "path": f"{n}.png"}, "label": n % 2, "patient": f"p{n // 2}"}
            for n in range(first, first + count)
        ]
        table = pa.Table.from_pylist(rows)
        return table.replace_schema_metadata({"huggingface": json.dumps(FEATURES)} if described else {})

    def test_parquet_as_the_hub_has_it(self, tmp_path: Path) -> None:
        (tmp_path / "in/data").mkdir(parents=True)
        pq.write_table(self.table(0, 5), tmp_path / "in/data/train-00000-of-00002.parquet", row_group_size=2)
        pq.write_table(self.table(5, 5), tmp_path / "in/data/train-00001-of-00002.parquet")
        pq.write_table(self.table(10, 3), tmp_path / "in/data/validation-00000-of-00001.parquet")
        result = run(self.source(tmp_path / "in", group_column="patient"), tmp_path / "out")
        assert result.summary["classes"] == {"cat": 7, "dog": 6}
        assert sorted(str(i.split) for i in result.images.values()) == ["train"] * 10 + ["val"] * 3
        first = result.images["data/train-00001-of-00002-000000"]
        assert (first.data, first.label, first.group) == (picture(5), "dog", "p2")
        limited = self.source(tmp_path / "in", limit=6)
        labels = Counter(r.label for r in limited.records() if isinstance(r, ImageRecord))
        assert labels == {"cat": 3, "dog": 3}
        assert limited.notes == ["ingest.limit: 6 of 13 inputs, sampled evenly from each of 2 classes"]

    @pytest.mark.parametrize("stream", [True, False])
    def test_a_folder_of_save_to_disk(self, stream: bool, tmp_path: Path) -> None:
        for split, first in {"train": 0, "test": 6}.items():
            folder = tmp_path / "in" / split
            folder.mkdir(parents=True)
            table = self.table(first, 6, described=False)
            new = pa.ipc.new_stream if stream else pa.ipc.new_file
            with new(folder / "data-00000-of-00001.arrow", table.schema) as writer:
                writer.write_table(table, max_chunksize=4)
            (folder / "dataset_info.json").write_text(json.dumps(FEATURES["info"]))
            (folder / "cache-1.arrow").write_bytes(b"left over")
            (folder / "._data-00000-of-00001.arrow").write_bytes(b"a Mac's")
            (folder / ".cache").mkdir()
            (folder / ".cache/x.arrow").write_bytes(b"a program's")
        result = run(self.source(tmp_path / "in"), tmp_path / "out")
        assert result.summary["classes"] == {"cat": 6, "dog": 6}
        assert result.images["test/data-00000-of-00001-000000"].split == "test"

    def test_rows_that_name_files(self, tmp_path: Path) -> None:
        root = tmp_path / "in"
        root.mkdir()
        (root / "1.png").write_bytes(picture(1))
        cells = ["1.png", "none.png", "../../etc/hostname", None]
        rows = [{"image": {"bytes": None, "path": path}, "label": "x"} for path in cells]
        pq.write_table(pa.Table.from_pylist(rows), root / "t.parquet")
        result = run(self.source(root), tmp_path / "out")
        assert list(result.images) == ["t-000000"]
        assert result.rejected == {"t-000001": "missing", "t-000002": "unsafe_entry", "t-000003": "missing"}

    def test_what_ingestion_writes_can_be_ingested(self, tmp_path: Path) -> None:
        first = run(DigitsSource(limit=50), tmp_path / "first")
        kept = tmp_path / "kept"
        kept.mkdir()
        for path in first.out.glob("shard-*.parquet"):
            path.rename(kept / path.name)
        second = run(self.source(kept, id_column="id"), tmp_path / "second")
        assert {p.name for p in second.out.iterdir()} == {p.name for p in (*kept.iterdir(), *first.out.iterdir())}

    def test_faults_are_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"no \.parquet or \.arrow file"):
            self.source(tmp_path).fingerprint()
        (tmp_path / "t.parquet").write_bytes(b"PAR1")
        with pytest.raises(UserError, match=r"t\.parquet: cannot be read"):
            list(self.source(tmp_path).records())
        pq.write_table(self.table(0, 2), tmp_path / "t.parquet")
        with pytest.raises(UserError, match=r"no column 'class' in .*; it has 'image', 'label', 'patient'"):
            list(self.source(tmp_path, label_column="class").records())


class TestDigits:
    def test_all_are_there(self, tmp_path: Path) -> None:
        from sklearn.datasets import load_digits

        result = run(DigitsSource(), tmp_path / "out")
        digits = load_digits()
        assert len(result.images) == 1797
        for number in range(0, 1797, 83):
            image = result.images[f"digits-{number:04}"]
            assert image.label == str(digits.target[number])
            assert np.array_equal(pixels(image.data), np.floor(digits.images[number] * 255 / 16 + 0.5))

    def test_a_limit_is_a_sample(self) -> None:
        source = DigitsSource(limit=100)
        some = [record for record in source.records() if isinstance(record, ImageRecord)]
        assert source.notes == ["ingest.limit: 100 of 1,797 inputs, sampled evenly from each of 10 classes"]
        assert len(some) == 100
        assert len({record.label for record in some}) == 10
