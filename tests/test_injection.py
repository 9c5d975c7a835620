"""Hostile names of classes and files, carried to everything that shows or keeps them: data stay, markup is escaped."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import sqlite3
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from markdown_it import MarkdownIt

from sightline.changes import dataset_diff, diff_page, diff_text
from sightline.changes.dataset_diff import DatasetState, LabelledImage
from sightline.changes.project_diff import ProjectDiff, ValueChange
from sightline.changes.revision import Revision
from sightline.cli.base import echo
from sightline.core import progress
from sightline.core.text import for_markdown
from sightline.drift import drift_page
from sightline.drift.image_statistics import NAMES
from sightline.drift.reference import Reference
from sightline.drift.sample_comparison import Drift, IncomingImages, StatisticDrift
from sightline.imaging.transform.pipeline import Transform
from sightline.imaging.transform.resize import Stretch
from sightline.imaging.transform.segment import NoSegmentation
from sightline.imaging.transform.step import Nothing
from sightline.predict import parquet_writer, writers
from sightline.predict.inputs import Input
from sightline.predict.prediction import Prediction
from sightline.reporting.cards import cards
from sightline.reporting.examples import worst_errors
from sightline.sources.databases.writeback import write_predictions
from sightline.sources.folder import FolderSource
from sightline.stages.evaluate.image_browser import browsed_images
from sightline.stages.evaluate.report import ReportContent, render_report
from sightline.stages.evaluate.scoring import score_model
from sightline.stages.export import model_card
from sightline.stages.export.calibration_file import Calibration
from sightline.stages.export.parity import ParityResult
from sightline.stages.export.result import ExportResult
from tests.sources.test_table import source, write
from tests.stages.evaluate.conftest import config, make_set, model
from tests.stages.ingest.helpers import picture, run, tree

__all__ = ["config", "make_set", "model"]

_ATTACKS = """
<script>alert(1)</script>|<img src=x onerror=alert(1)>|<svg/onload=alert(1)>|"><script src=//evil.example></script>
' onmouseover='alert(1)|</title><iframe src=javascript:alert(1)>|<style>*{display:none}</style>|</script><b>|<!--|]]>
&lt;b&gt;|&#60;b&#62;|<base href=//evil.example>|<meta http-equiv=refresh content=0>|javascript:alert(1)|</textarea><a>
'; DROP TABLE predictions; --|" OR ""="|1; DELETE FROM images|' UNION SELECT sql FROM sqlite_master --|\\'; --|`x`
{"$where": "sleep(9)"}|$ne|{"$gt": ""}|a.b.$set|$(id)|`id`|; rm -rf ~|&& curl evil.example|> /etc/passwd|$IFS|%PATH%
{{ 7 * 7 }}|{% raise %}|{{ self.__init__.__globals__ }}|${7*7}|#{7*7}|<%= 7 %>|${oc.env:HOME}|${now:%Y}|${..x}|%(name)s
{0.__class__}|%n%s|!!python/object/apply:os.system [id]|!include x|- a: b|*alias|&anchor|key: value|? x|~|null|1e3
[x](javascript:alert(1))|![x](https://evil.example/p.png)|https://evil.example|<https://evil.example>|# h|**b**|```|***
[x]: https://evil.example|x<br>y|a_b_c|~~x~~|$x^2$|1. x|=1+1|+1+1|-1+1|@SUM(1)|=cmd('/C calc')!A0|=HYPERLINK("//e","x")
../../etc/passwd|..\\..\\x|/etc/passwd|C:\\x|file:///etc/passwd|con|.hidden|a/../../b|~root|-rf|--output=x|@file|*
"""
_SEPARATORS = [
    "a|b", "a || b", "| --- |", "x,y;z", 'a"b"c', "a\nb", "a\tb", "\r gone", "a\r\nb", "\u2028line", "\x85next",
]  # fmt: skip
_CONTROLS = [
    "\x1b[31mred",
    "\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\x07", "\b\b\b", "\x00nul", "a\x00b", "\x7f",
    "\x1bP\x1b\\",
    "\u202etxt.exe", "\u2066a\u2069", "\u200frtl", "قطة", "\ufeffbom", "\U0001f9d1\u200d\U0001f52c", "日本語",
    "x" * 500, "<b>" * 160, "A" * 200 + "=1", "%00", "\\u001b[31m",
]  # fmt: skip
_BARE = [*_ATTACKS.strip().replace("\n", "|").split("|"), *_SEPARATORS, *_CONTROLS]
PAYLOADS = sorted({form for text in _BARE for form in (text, f"cat{text}", f'"{text}')})
FORBIDDEN = set(map(chr, [*range(9), *range(11, 32), *range(127, 160), 0x200E, 0x200F, *range(0x2028, 0x202F)]))


class Skeleton(HTMLParser):
    """A page's elements with the names of their attributes, and its text with the values of the attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.values: list[str] = []
        self.feed(page)
        self.close()
        self.text = "".join(self.values)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        if tag not in ("script", "style"):
            self.values += [value or "" for _, value in attrs]

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", data))

    def handle_data(self, data: str) -> None:
        self.values.append(data)


def names(hostile: bool) -> list[str]:
    """Returns the payloads, or as many harmless names in their order."""
    return PAYLOADS if hostile else [f"class {i:03d}" for i in range(len(PAYLOADS))]


def test_there_are_enough() -> None:
    assert len(PAYLOADS) >= 300


def test_the_class_map_and_the_ids_are_the_tables(tmp_path: Path) -> None:
    rows = [{"id": f"{i}{name}", "label": name, "image": picture(i, 8)} for i, name in enumerate(PAYLOADS)]
    table = source(
        write(tmp_path / "list.parquet", rows), path_column=None, bytes_column="image", id_column="id",
        split_column=None, group_column=None,
    )  # fmt: skip
    done = run(table, tmp_path / "raw")
    found = {image.id: image.label for image in done.images.values()}
    expected = {row["id"]: str(row["label"]).strip() for row in rows}  # as of every label
    assert done.rejected == {}
    assert {i: (found.get(i), e) for i, e in expected.items() if found.get(i) != e} == {}
    assert json.loads((done.out / "classes.json").read_text())["classes"] == sorted(set(expected.values()))


def test_the_names_of_folders_and_files(tmp_path: Path) -> None:
    possible = [name for name in PAYLOADS if len(name) < 200 and not set("/\\\0") & set(name) and name[0] not in "._"]
    files = {f"{name}/{name}.png": picture(i, 8) for i, name in enumerate(possible) if not name.isspace()}
    done = run(FolderSource(tree(tmp_path / "in", files), 2**20), tmp_path / "raw")
    assert {image.id: image.data for image in done.images.values()} == files
    assert [image.id for image in done.images.values() if image.label != image.id.split("/")[0]] == []
    assert len(files) > 250


@pytest.mark.parametrize("part", [slice(0, 200), slice(200, None)])
def test_the_report(make_set: Any, config: Any, model: Any, part: slice) -> None:
    skeletons = []
    for hostile in (True, False):
        classes = names(hostile)[part]
        data = make_set(classes, per_split=1)
        found = score_model(model(len(classes)), data, dataclasses.replace(config, resamples=100, slices=[]))
        rows = data.split("test")
        errors = [dataclasses.replace(e, id=classes[e.label]) for e in worst_errors(found.test, 400)]
        browsed = browsed_images(found.test, rows, classes, [], 400)
        content = ReportContent(found, {}, errors=cards(errors, rows, classes), browsed=browsed)
        skeletons.append(Skeleton(render_report(data, content)))
    assert skeletons[0].elements == skeletons[1].elements
    assert [name for name in PAYLOADS[part] if name not in skeletons[0].text] == []


def test_the_drift_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_page, "MOST_SHOWN", 400)
    count = len(PAYLOADS)
    reference = Reference(np.zeros((count, len(NAMES)), np.float32), np.arange(count))
    drift = Drift([StatisticDrift(NAMES[0], 0.5, 0.0, 0.0, 1.0, True)], count, count, 0, 0.05)
    pages = []
    for hostile in (True, False):
        items = [Input(name, lambda: picture(0, 4)) for name in names(hostile)]
        incoming = IncomingImages(items, Reference(reference.statistics + 1, reference.classes), 0)
        pages.append(Skeleton(drift_page.render_page(drift, reference, incoming, names(hostile))))
    assert pages[0].elements == pages[1].elements
    assert [name for name in PAYLOADS if pages[0].text.count(name) < 2] == []


def difference(hostile: bool) -> ProjectDiff:
    """Returns a difference in which every name stands as class, id, knob and value."""
    every = names(hostile)
    before = DatasetState({name: LabelledImage(name, "train", str(i)) for i, name in enumerate(every)})
    after = DatasetState({}, rejected=dict.fromkeys(every, "corrupt"))
    data = dataset_diff.compare_datasets(before, after)
    params = [ValueChange(name, name, name) for name in every]
    here = Revision(None)
    return ProjectDiff(here, here, params, data, [], None, [], [], [f"HEAD has no {name}" for name in every])


def test_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_text, "MOST_ROWS", 1000)
    monkeypatch.setattr(diff_page, "MOST_SHOWN", 1000)
    markdown = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    texts, pages = ([], [])
    for hostile in (True, False):
        diff = difference(hostile)
        texts.append(Skeleton(markdown.render("\n".join(diff_text.markdown(diff)))))
        pages.append(Skeleton(diff_page.render_page(diff)))
    assert texts[0].elements == texts[1].elements
    assert [name for name in PAYLOADS if as_shown(name) not in texts[0].text] == []
    assert pages[0].elements == pages[1].elements
    assert [name for name in PAYLOADS if name not in pages[0].text] == []


def as_shown(name: str) -> str:
    """Returns a name as Markdown shows it: on a line, without what a terminal obeys."""
    once: str = for_markdown(name)
    return Skeleton(MarkdownIt("gfm-like", {"linkify": False}).renderInline(once)).text.strip()


@pytest.mark.parametrize("name", ["<b>x</b>", "&lt;b&gt;", "a_b_c", "[x](y)", "https://evil.example", "a|b", "\\*"])
def test_markdown_shows_a_name_as_it_is(name: str) -> None:
    assert as_shown(name) == name


def test_the_model_card(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Nothing("none")
    transform = Transform.build(8, 1, [0], nothing, nothing, nothing, NoSegmentation("none"), Stretch("stretch"))
    outcome = ExportResult(ParityResult(1, 0, 0.0, ()), {"test": 1}, None, "fp32")
    markdown = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    cards = []
    for hostile in (True, False):
        some = names(hostile)
        text = ""
        for start in range(0, len(some), 50):
            part = some[start : start + 50]
            content = model_card.CardContent(
                license=part[0], classes=part, architecture={"name": part[1]}, transform=transform,
                images_per_split={"test": 1}, metrics=dict.fromkeys(part, 0.5), lineage={},
                calibration=Calibration(1.0, 0.9, None, None),
            )  # fmt: skip
            card = model_card.render_card(content, outcome, 1e-5)
            head, body = card.removeprefix("---\n").split("\n---\n", 1)
            assert json.loads(head.splitlines()[0].removeprefix("license: ")) == part[0]
            text += body
        cards.append(Skeleton(markdown.render(text)))
    assert cards[0].elements == cards[1].elements
    assert [name for name in PAYLOADS if as_shown(name) not in cards[0].text] == []


PREDICTIONS = [Prediction(name, ((name, 0.75), ("cat", 0.25))) for name in PAYLOADS]
FAILED = [Prediction(name, error="corrupt", detail=name) for name in PAYLOADS]


def written(form: str) -> str:
    stream = io.StringIO()
    writers.write_as(form, [*PREDICTIONS, *FAILED], stream, PAYLOADS, 2)
    return stream.getvalue()


def test_predictions_as_csv_and_json(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv"), newline="")))
    assert [(row["path"], row["label"]) for row in rows[: len(PAYLOADS)]] == [(name, name) for name in PAYLOADS]
    assert [row["detail"] for row in rows[len(PAYLOADS) :]] == PAYLOADS
    as_json = json.loads(written("json"))
    assert [row["label"] or row["detail"] for row in as_json] == PAYLOADS * 2
    assert [json.loads(line) for line in written("jsonl").split("\n")[:-1]] == as_json
    parquet_writer.write_parquet(PREDICTIONS, tmp_path / "p.parquet")
    assert pq.read_table(tmp_path / "p.parquet")["label"].to_pylist() == PAYLOADS


def test_predictions_in_sqlite(tmp_path: Path) -> None:
    file = tmp_path / "p.db"
    rows = [{"id": name, "model": name, "label": name, "probability": 0.5, "detail": name} for name in PAYLOADS]
    assert write_predictions(rows, f"sqlite:///{file}", "x'; DROP TABLE y; --") == len(rows)
    with sqlite3.connect(file) as connection:
        assert [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == [
            "x'; DROP TABLE y; --"
        ]
        found = connection.execute('SELECT id, model, label, detail FROM "x\'; DROP TABLE y; --"').fetchall()
    assert sorted(found) == [(name,) * 4 for name in PAYLOADS]


def test_nothing_orders_the_terminal_about(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_text, "MOST_ROWS", 1000)
    for name in PAYLOADS:
        echo(f"{name}: refused")
        progress.write_line(f"{name}: refused", sys.stderr)
    for line in diff_text.terminal(difference(hostile=True)):
        echo(line)
    shown = capsys.readouterr()
    assert FORBIDDEN.isdisjoint(shown.out + shown.err + written("table"))
    assert "cat\\u001b[31mred: refused\n" in shown.out
    assert "cat\\u001b[31mred: refused\n" in shown.err


def test_the_command_prints_by_no_other_way() -> None:
    for path in (Path(__file__).parents[1] / "src/sightline/cli").glob("*.py"):
        assert path.name == "base.py" or not {"echo", "secho"} & names_used(path), path


def names_used(path: Path) -> set[str]:
    text = path.read_text()
    return {name for name in dir(typer) if f"typer.{name}(" in text}
