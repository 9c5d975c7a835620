"""A small project of real digits under review, with some wrong labels."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.core.rejection import RejectionReason
from sightline.datasets import processed_set, raw_set
from sightline.datasets.raw_set import Rejection
from tests.exported import CLASSES, Project
from tests.serve.conftest import browser

__all__ = ["browser"]

FLIPPED = 27
"""3 % of the images."""


@dataclass(frozen=True)
class Reviewed:
    """A project with wrong labels.

    Attributes:
        root: Its folder, which is the current one.
        truth: The correct class of each picture, by digest.
        wrong: Digests of the pictures with a wrong label.
    """

    root: Path
    truth: dict[str, str]
    wrong: set[str]


@pytest.fixture
def reviewed(project: Path, exported: Project) -> Reviewed:
    """The project, plus two pictures that ingestion refused: one without a label, and one with conflicting labels."""
    for folder in ("data/raw", "data/processed", "models", "reports"):
        shutil.copytree(exported.root / folder, project / folder)
    path = project / "data/processed" / processed_set.INDEX
    table = pq.read_table(path)
    digests, labels = table["sha256"].to_pylist(), table["label"].to_numpy().copy()
    truth = dict(zip(digests, (CLASSES[label] for label in labels), strict=True))
    random = np.random.default_rng(0)
    flipped = random.choice(len(labels), FLIPPED, replace=False)
    labels[flipped] = (labels[flipped] + random.integers(1, 10, FLIPPED)) % 10
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array(labels, pa.int32())), path)
    # From the source that params.yaml names, whose ids differ.
    refused = [
        Rejection("digits-1500", RejectionReason.NO_LABEL, "the source gives it no class"),
        Rejection("digits-1501", RejectionReason.CONFLICT, "one image, labelled '1' (x) and '7' (y)"),
    ]
    raw_set.write_rejected(refused, project / "data/raw" / raw_set.REJECTED)
    return Reviewed(project, truth, {digests[at] for at in flipped})


def page_of(application: Any) -> Any:
    """Returns a client that sends requests to the application as the page does."""
    from starlette.testclient import TestClient

    return TestClient(application, base_url="http://127.0.0.1:8001")
