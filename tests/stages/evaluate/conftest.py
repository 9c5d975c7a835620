import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from sightline.datasets import processed_set, raw_set
from sightline.imaging import decode
from sightline.imaging.transform.pipeline import Transform
from sightline.imaging.transform.resize import Stretch
from sightline.imaging.transform.segment import NoSegmentation
from sightline.imaging.transform.step import Nothing
from sightline.stages.evaluate.config import EvaluateConfig

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }} & {% raise %}",
    "$x^2$",
    "a very long name of a class that goes on and on " * 3,
    "x" * 200,
    "line\nbreak, comma;\ttab",
    "日本語の名前",
    "قطة",
    "‮txet",
    " ",
]


@pytest.fixture(scope="session")
def hostile():
    """Class names that a carelessly written page or picture would render wrongly."""
    return HOSTILE


@pytest.fixture(scope="session")
def config():
    values = yaml.safe_load(Path("conf/evaluate/default.yaml").read_text())
    return EvaluateConfig(**values)  # shared, do not modify: use dataclasses.replace


@pytest.fixture(scope="session")
def make_set(tmp_path_factory):
    """Returns a function that writes a processed set with 12 images per class and split, or another number."""

    def make(classes, per_split=12, channels=3, absent_from_test=()):
        classes = sorted(classes)
        root = tmp_path_factory.mktemp("processed")
        rng = np.random.default_rng(0)
        rows = [
            (f"{split}-{label:03d}-{i:03d}", label, split)
            for split in raw_set.SPLITS
            for label in range(len(classes))
            for i in range(per_split)
            if not (split == "test" and label in absent_from_test)
        ]
        rows.sort()
        ids, labels, splits = (list(column) for column in zip(*rows, strict=True))
        images = rng.integers(0, 256, (len(rows), 16, 12, channels), np.uint8)
        images[:, 0, 0, 0] = labels  # lets a fake model read the label
        np.save(root / "shard-0.npy", images)
        columns = {
            "id": ids,
            "label": pa.array(labels, pa.int32()),
            "split": splits,
            "shard": ["shard-0.npy"] * len(rows),
            "row": pa.array(range(len(rows)), pa.int32()),
            "origin": ids,
            "sha256": [hashlib.sha256(image.tobytes()).hexdigest() for image in images],
        }
        pq.write_table(pa.table(columns, schema=processed_set.INDEX_SCHEMA), root / processed_set.INDEX)
        raw_set.write_classes(classes, root / raw_set.CLASSES)
        (root / processed_set.TRANSFORM).write_text("{}\n")
        return processed_set.ProcessedSet(root)

    return make


@pytest.fixture(scope="session")
def model():
    """Returns a function that makes a fake model, which is wrong only on images whose second byte is below 64."""

    def make(num_classes, errors=True):
        def predict(images):
            labels = images[:, 0, 0, 0].astype(int)
            wrong = (images[:, 0, 1, 0] < 64) & errors
            answers = np.where(wrong, (labels + 1) % num_classes, labels)
            certain = 0.55 + 0.4 * images[:, 0, 2, 0, None] / 255
            return np.eye(num_classes)[answers] * certain + (1 - certain) / num_classes

        return predict

    return make


@pytest.fixture(scope="session")
def history(tmp_path_factory):
    path = tmp_path_factory.mktemp("train") / "history.csv"
    path.write_text("epoch,train_loss,val_loss,val_accuracy,lr\n0,1.2,1.1,0.5,0.1\n1,0.6,0.7,0.8,0.1\n2,0.4,,0.9,0.1\n")
    return path


@dataclass(frozen=True)
class Digits:
    """Real handwritten digits as the stages write them, and a logistic regression on their pixels."""

    raw: Path
    data: processed_set.ProcessedSet
    predict: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float64]]


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """1,000 digits: 500 for training, 200 for validation, 300 for testing; every third comes from scanner b."""
    root = tmp_path_factory.mktemp("digits")
    raw, processed = root / "raw", root / "processed"
    raw.mkdir()
    processed.mkdir()
    bunch = load_digits()
    pixels = np.round(bunch.images[:1000] * 255 / 16).astype(np.uint8)[..., None]
    encoded = [decode.encode_png(image) for image in pixels]
    ids = [f"digit-{i:04d}" for i in range(1000)]
    splits = ["train"] * 500 + ["val"] * 200 + ["test"] * 300
    names = [str(label) for label in bunch.target[:1000]]
    raw_set.write_raw_shards(
        (
            raw_set.RawImage(
                ids[i],
                encoded[i],
                names[i],
                None,
                "ab"[i % 3 == 0],
                f"sheet-{i % 2}/{i}.png" if i % 5 else None,
                hashlib.sha256(encoded[i]).hexdigest(),
                "PNG",
                8,
                8,
            )
            for i in range(1000)
        ),
        raw,
    )
    nothing = Nothing("none")
    transform = Transform.build(8, 1, [0], nothing, nothing, nothing, NoSegmentation("none"), Stretch("stretch"))
    transform.save(processed / processed_set.TRANSFORM)
    prepared = np.stack([transform.decode(data) for data in encoded])
    np.save(processed / "shard-0.npy", prepared)
    columns = {
        "id": ids,
        "label": pa.array(bunch.target[:1000], pa.int32()),
        "split": splits,
        "shard": ["shard-0.npy"] * 1000,
        "row": pa.array(range(1000), pa.int32()),
        "origin": ids,
        "sha256": [hashlib.sha256(data).hexdigest() for data in encoded],
    }
    pq.write_table(pa.table(columns, schema=processed_set.INDEX_SCHEMA), processed / processed_set.INDEX)
    raw_set.write_classes(sorted(set(names)), processed / raw_set.CLASSES)
    net = LogisticRegression(C=0.1, max_iter=200).fit(prepared[:500].reshape(500, -1) / 255, bunch.target[:500])
    return Digits(raw, processed_set.ProcessedSet(processed), lambda x: net.predict_proba(x.reshape(len(x), -1) / 255))
