"""Novelty and refusals of foreign pictures by each interface of a bundle, which must agree.

    python -m benchmarks.novelty_doors models/bundle [--pictures 50]

Sends pictures of MNIST, Fashion-MNIST and the photographs of hands, and noise, as encoded files to `sightline predict`,
to the server's REST API, to the server's page in headless Chromium, and to MLflow's pyfunc model. For each dataset it
prints how many pictures each interface refuses, and the largest relative difference of novelty from that of the
command. The exit code is 1 if an interface refuses other pictures than the command. MLflow's model abstains according
to its bundle's policy, so it gets a copy of the bundle with such a policy. Needs SIGHTLINE_SHARED_DATA and a Chromium
in one of the places where the tests look for it.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import requests
from playwright.sync_api import sync_playwright

import sightline
from benchmarks.novelty import hands, idx, noise
from sightline.core import files
from sightline.predict import manifest
from sightline.tracking.model_registry import SIGNATURE
from tests.serve.conftest import serve
from tests.servers.processes import browser_program

Novelty = dict[str, tuple[list[float], list[bool]]]
"""By interface: each picture's novelty, and whether it is refused."""
REFUSED = "Unlike any class the model knows"


def by_command(bundle: Path, paths: Sequence[Path]) -> tuple[list[float], list[bool]]:
    """Asks `sightline predict --abstain`."""
    code = "from sightline.cli import app; app()"
    command = [sys.executable, "-c", code, "predict", str(bundle), *map(str, paths), "--abstain", "--format", "jsonl"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [row["novelty"] for row in rows], [row["label"] == "none of these" for row in rows]


def by_rest(url: str, paths: Sequence[Path]) -> tuple[list[float], list[bool]]:
    """Posts each file to the REST API."""
    kind = {"content-type": "application/octet-stream"}
    rows = [
        requests.post(f"{url}/predict?abstain=true", data=path.read_bytes(), headers=kind, timeout=60).json()
        for path in paths
    ]
    rows = [row["predictions"][0] for row in rows]
    return [row["novelty"] for row in rows], [row["label"] == "none of these" for row in rows]


def by_page(page: Any, url: str, paths: Sequence[Path]) -> tuple[list[float], list[bool]]:
    """Chooses the files in the page; reads novelty from the saved table, and refusals from the page's text."""
    page.goto(url)
    page.wait_for_selector("#about:enabled")
    page.set_input_files("#files", [str(path) for path in paths])
    page.wait_for_selector(f"#status:has-text('{len(paths)} pictures done')", timeout=60_000)
    with page.expect_download() as download:
        page.click("#save")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    shown = page.eval_on_selector_all(
        "#results > li",
        "items => items.map(i => [i.querySelector('.name').title, i.querySelector('.answer').textContent])",
    )
    answers = dict(shown)
    return [float(row["novelty"]) for row in rows], [answers[row["path"]].startswith(REFUSED) for row in rows]


def by_mlflow(model: Any, paths: Sequence[Path]) -> tuple[list[float], list[bool]]:
    """Calls MLflow's model."""
    table = model.predict(pd.DataFrame({"image": [path.read_bytes() for path in paths]}))
    return list(table["novelty"]), list(table["label"] == "none of these")


def saved_model(bundle: Path, folder: Path) -> Any:
    """Saves a copy of the bundle with an abstention policy as an MLflow model, and loads the model."""
    shutil.copytree(bundle, folder / "bundle")
    calibration = json.loads((folder / "bundle" / manifest.CALIBRATION).read_bytes()) | {"abstain": True}
    files.write_json(folder / "bundle" / manifest.CALIBRATION, calibration)
    old = json.loads((folder / "bundle" / manifest.MANIFEST).read_bytes())
    (folder / "bundle" / manifest.MANIFEST).unlink()
    manifest.write_manifest(folder / "bundle", old["lineage"], old["default"], old["proof"])
    mlflow.pyfunc.save_model(
        folder / "model",
        python_model=str(Path(sightline.__path__[0]) / "promote" / "pyfunc_model.py"),
        artifacts={"bundle": str(folder / "bundle")},
        signature=SIGNATURE,
        pip_requirements=["numpy"],
    )
    return mlflow.pyfunc.load_model(str(folder / "model"))


def main() -> None:
    """Compares the interfaces."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--pictures", type=int, default=50)
    given = parser.parse_args()
    sets = {"MNIST": idx("mnist", given.pictures).data, "Fashion-MNIST": idx("fashion-mnist", given.pictures).data}
    sets |= {"hands": hands().data[:: max(1, 2062 // given.pictures)], "noise": noise()}
    differs = False
    os.environ.pop("SIGHTLINE_API_KEY", None)
    with tempfile.TemporaryDirectory() as temporary, serve(given.bundle) as server, sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser_program(), args=["--no-sandbox"]).new_page()
        model = saved_model(given.bundle, Path(temporary))
        for name, pictures in sets.items():
            folder = Path(temporary, name)
            folder.mkdir()
            paths = [folder / f"{place:03}.{'jpg' if name == 'hands' else 'png'}" for place in range(given.pictures)]
            for path, data in zip(paths, pictures, strict=False):
                path.write_bytes(data)
            doors: Novelty = {
                "predict": by_command(given.bundle, paths),
                "REST": by_rest(server.url, paths),
                "page": by_page(page, server.url, paths),
                "MLflow": by_mlflow(model, paths),
            }
            novelty, refused = doors["predict"]
            same = all(other == refused for _, other in doors.values())
            largest = max(np.abs(np.array(other) / novelty - 1).max() for other, _ in doors.values())
            counts = ", ".join(f"{door} {sum(flags)}" for door, (_, flags) in doors.items())
            print(f"{name}: refused of {len(paths)}: {counts}; {'the same pictures' if same else 'OTHER PICTURES'}; "
                  f"novelty differs by {largest:.1e} of it at most")  # fmt: skip
            differs |= not same
    sys.exit(int(differs))


if __name__ == "__main__":
    main()
