"""Images in a real MariaDB: a row that came, one that went, one with another label."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from sightline.core.credentials import DATABASE_URL, parse_url
from sightline.datasets.raw_set import ImageRecord
from sightline.sources.databases import sql
from sightline.sources.databases.writeback import load_images
from tests.pipeline import project as projects
from tests.pipeline.project import image_diff
from tests.stages.ingest.helpers import picture

TABLE = "images"


def records(*numbers: int) -> list[ImageRecord]:
    return [ImageRecord(f"{number:02}", picture(number), "ab"[number % 2]) for number in numbers]


@pytest.mark.slow
def test_rows_that_change(mariadb_url: str, tmp_path: Path) -> None:
    access = {DATABASE_URL: mariadb_url}
    load_images(records(*range(40)), mariadb_url, TABLE)
    here = projects.make(tmp_path / "a", {"ingest__source": "sql"})
    assert here.repro("preprocess", **access).ran == ["watch", "ingest", "preprocess"]
    here.commit("forty rows")

    def check() -> tuple[int, str]:
        done = here.command("sightline", "check", **access)
        return done.code, done.output.splitlines()[0]

    assert check()[1].startswith("train: it has never run")
    load_images(records(50), mariadb_url, TABLE)
    with sql.engine(parse_url(mariadb_url), write=True) as engine, engine.begin() as connection:
        rows = sa.table(TABLE, sa.column("id"), sa.column("label"))
        connection.execute(rows.delete().where(rows.c.id == "03"))
        connection.execute(rows.update().where(rows.c.id == "08").values(label="b"))
    code, line = check()
    assert code == 1
    assert line.startswith("ingest: data/source.json: "), line
    assert here.repro("preprocess", **access).ran == ["watch", "ingest", "preprocess"]
    diff = image_diff(here)
    assert (diff["added"], diff["removed"], diff["relabelled"]) == (["50"], ["03"], ["08"])
    assert not any(diff[kind] for kind in ("renamed", "replaced", "refused", "accepted", "near"))
