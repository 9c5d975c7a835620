"""One picture, one answer: by evaluation's network, command line, Python, MLflow, REST (three encodings) and page."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

import sightline
from sightline.tracking.model_registry import SIGNATURE
from tests import bundles
from tests.cli.test_cli import run
from tests.serve.conftest import Served, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOLERANCE = 1e-6
AT_ONCE = 50

Row = dict[str, Any]


@pytest.mark.parametrize(
    ("name", "count", "hostile"),
    [
        ("fashion-mnist", 200, 0),
        pytest.param("mnist", 200, 0, marks=pytest.mark.full),
        ("sign-language-digits", 40, 40),  # the set whose pictures are of all sizes and colours
        pytest.param("sign-language-digits", 200, 10_000, marks=pytest.mark.full),
    ],
)
def test_every_road_gives_the_same(name: str, count: int, hostile: int, tmp_path: Path, browser: Any) -> None:
    folder = tmp_path / "bundle"
    network = bundles.trained(name, folder)
    (tmp_path / "pictures").mkdir()
    contents = [one.data for one in bundles.encoded(name, count)]
    if hostile:
        files = bundles.accepted_hostile_files()
        contents += [path.read_bytes() for path in files[:: max(1, len(files) // hostile)]]
        assert len(contents) >= min(count + hostile, 700)
    paths = [tmp_path / "pictures" / f"{place:04}" for place in range(len(contents))]
    for path, data in zip(paths, contents, strict=True):
        path.write_bytes(data)

    bundle = sightline.load(folder)
    expected = [p.top for p in bundle.predict(paths, top_k=99)]
    assert all(expected)
    prepared = np.stack([bundle.prepare(data) for data in contents])
    evaluated = np.concatenate([network(prepared[start : start + 64]) for start in range(0, len(prepared), 64)])
    for row, top in zip(evaluated, expected, strict=True):
        assert bundle.classes[int(row.argmax())] == top[0][0]
        assert [dict(top)[label] for label in bundle.classes] == pytest.approx(list(row), abs=TOLERANCE)

    target = tmp_path / "rows.jsonl"
    assert run("predict", folder, tmp_path / "pictures", "-k", 99, "-o", target)[0] == 0

    same([json.loads(line) for line in target.read_text().splitlines()], expected)
    for row, top in zip(_mlflow(folder, contents, tmp_path / "registered"), expected, strict=True):
        assert row["label"] == top[0][0]
        assert [dict(top)[label] for label in bundle.classes] == pytest.approx(row["probabilities"], abs=TOLERANCE)
    with serve(folder) as server:
        same(_raw(server, contents), expected)
        same(_form(server, contents), expected)
        same(_json(server, contents), expected)
        for row, top in zip(_page(server, browser, paths), expected, strict=True):
            assert row["label"] == top[0][0] or (not row["label"] and top[0][1] < (bundle.threshold or 0))
            assert float(row["probability"]) == pytest.approx(top[0][1], abs=TOLERANCE)


def same(rows: Sequence[Row], expected: Sequence[Any]) -> None:
    assert len(rows) == len(expected)
    for row, top in zip(rows, expected, strict=True):
        assert row["label"] == top[0][0]
        shares = {one["label"]: one["probability"] for one in row["top"]}
        assert shares == pytest.approx(dict(top), abs=TOLERANCE)


def _mlflow(bundle: Path, contents: list[bytes], folder: Path) -> list[Row]:
    import mlflow
    import pandas as pd

    code = Path(sightline.__path__[0]) / "promote" / "pyfunc_model.py"
    mlflow.pyfunc.save_model(
        folder,
        python_model=str(code),
        artifacts={"bundle": str(bundle)},
        signature=SIGNATURE,
        pip_requirements=["numpy"],
    )
    answers = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"image": contents}))
    rows: list[Row] = answers.to_dict("records")
    return rows


def _raw(server: Served, contents: list[bytes]) -> list[Row]:
    with requests.Session() as session:
        url, kind = f"{server.url}/predict?top_k=99", {"content-type": "application/octet-stream"}
        answers = [session.post(url, data=data, headers=kind, timeout=60) for data in contents]
    return [answer.json()["predictions"][0] for answer in answers]


def _form(server: Served, contents: list[bytes]) -> list[Row]:
    rows: list[Row] = []
    for start in range(0, len(contents), AT_ONCE):
        files = [("image", (str(i), data)) for i, data in enumerate(contents[start : start + AT_ONCE])]
        rows += requests.post(f"{server.url}/predict?top_k=99", files=files, timeout=60).json()["predictions"]
    return rows


def _json(server: Served, contents: list[bytes]) -> list[Row]:
    rows: list[Row] = []
    for start in range(0, len(contents), AT_ONCE):
        sent = [base64.b64encode(data).decode() for data in contents[start : start + AT_ONCE]]
        answer = requests.post(f"{server.url}/predict?top_k=99", json={"images": sent}, timeout=60)
        rows += answer.json()["predictions"]
    return rows


def _page(server: Served, browser: Any, paths: list[Path]) -> list[Row]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#about:enabled")
    page.set_input_files("#files", [str(path) for path in paths])
    page.wait_for_selector(f"#status:has-text('{len(paths)} pictures done')", timeout=300_000)
    with page.expect_download() as download:
        page.click("#save")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    context.close()
    assert [row["path"] for row in rows] == [path.name for path in paths]
    return rows
