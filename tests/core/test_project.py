"""The project as seen from itself, and from a copy in which DVC runs an experiment."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.config.compose import compose, typed
from sightline.core.errors import UserError
from sightline.core.project import located, project_root
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.watch.fingerprint import source_fingerprint

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the copy of the project the current folder."""
    folder = project / ".dvc" / "tmp" / "exps" / "tmp1234"
    folder.mkdir(parents=True)
    shutil.copytree(project / "conf", folder / "conf")
    return lambda: monkeypatch.chdir(folder)


def make_sources() -> None:
    """Writes pictures as a folder, an archive, a table and a database, and what renames their labels."""
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        Path("pics", label).mkdir(parents=True)
        for number in range(2):
            Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(f"pics/{label}/{number}.png")
    pictures = sorted(Path("pics").rglob("*.png"))
    with zipfile.ZipFile("pics.zip", "w") as archive:
        for picture in pictures:
            archive.write(picture, picture.relative_to("pics"))
    rows = [f"{picture.relative_to('pics')},{picture.parent.name}" for picture in pictures]
    Path("list.csv").write_text("\n".join(["path,label", *rows]))
    with sqlite3.connect("pics.db") as database:
        database.execute("CREATE TABLE images (id TEXT PRIMARY KEY, image BLOB, label TEXT)")
        content = [(str(picture), picture.read_bytes(), picture.parent.name) for picture in pictures]
        database.executemany("INSERT INTO images VALUES (?, ?, ?)", content)
    database.close()
    Path("labels.yaml").write_text("a: first\n")


def fingerprint(*words: str) -> Any:
    return source_fingerprint(typed(IngestConfig, compose(list(words)).ingest, "ingest"))


SOURCES = {
    "folder": ["ingest.path=pics", "ingest.labels=labels.yaml"],
    "archive": ["ingest.path=pics.zip"],
    "table": ["ingest.path=list.csv", "ingest.source.root=pics"],
    "sql": ["ingest.url='sqlite:///pics.db'"],
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_relative_source_is_the_same_in_the_copy_of_an_experiment(
    project: Path, copy: Callable[[], None], source: str
) -> None:
    make_sources()
    words = [f"ingest/source={source}", *SOURCES[source]]
    there = fingerprint(*words)
    copy()
    assert not Path("pics").exists()
    assert fingerprint(*words) == there
    missing = [word.replace("pics", "nothing").replace("list", "nothing") for word in words]
    with pytest.raises(UserError, match="nothing"):
        fingerprint(*missing)


def test_what_the_copy_holds_is_the_copys(project: Path, copy: Callable[[], None]) -> None:
    (project / "both").mkdir()
    (project / "one").mkdir()
    assert (located("one"), project_root()) == (Path("one"), Path())
    copy()
    Path("both").mkdir()
    assert located("both") == Path("both")
    assert located("one") == project / "one"
    assert located("neither") == Path("neither")
    assert located("/one") == Path("/one")
    assert project_root() == project


def test_scripts_and_their_child_processes_run_the_code_beside_them(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    (tmp_path / "src" / "sightline").mkdir(parents=True)
    (tmp_path / "src" / "sightline" / "__init__.py").touch()
    child = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sightline; print(sightline.__file__)'])"
    )
    code = f"import pipeline, sightline; print(sightline.__file__, flush=True); {child}"
    for path in (
        None,
        str(ROOT / "src"),
    ):  # the installed project's by its .pth file, another's that came by PYTHONPATH
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if path:
            environment["PYTHONPATH"] = path
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [str(tmp_path / "src" / "sightline" / "__init__.py")] * 2
