"""The application: a part of the queue, pictures, decisions on disk before the answer, and who may ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.datasets.corrections import CorrectionFile
from sightline.review.review_app import review_application
from sightline.review.review_project import open_project
from sightline.serve.config import ServeConfig
from tests.review.conftest import Reviewed, page_of

FILE = Path("data/corrections.csv")


@pytest.fixture
def page(reviewed: Reviewed) -> Iterator[Any]:
    with page_of(review_application(open_project(), ServeConfig(), Path("models/bundle"))) as client:
        yield client


def first(page: Any, kind: str = "suspect") -> dict[str, Any]:
    item: dict[str, Any] = page.get(f"/queue?kind={kind}&start=0").json()["items"][0]
    return item


def test_the_queue_comes_in_parts(page: Any) -> None:
    whole = page.get("/queue").json()
    assert (whole["total"], len(whole["items"]), whole["first"]) == (902, 60, 0)
    assert [kind["kind"] for kind in whole["kinds"]] == ["conflict", "suspect", "refused", "novel", "uncertain"]
    assert sum(kind["count"] for kind in whole["kinds"]) == 902
    assert len(page.get("/queue?start=900").json()["items"]) == 2
    assert page.get("/queue?start=x").status_code == 400


def test_a_picture_with_what_the_model_thinks_and_why(page: Any) -> None:
    item = first(page)
    shown = page.get(f"/picture/{item['sha256']}")
    assert shown.headers["content-type"] == "image/png"
    assert shown.content.startswith(b"\x89PNG")
    detail = page.get(f"/item/{item['sha256']}").json()
    assert len(detail["top"]) == 9
    assert len(detail["neighbours"]) == 8
    assert item["sha256"] not in {near["sha256"] for near in detail["neighbours"]}
    why = page.get(f"/why/{item['sha256']}").json()
    assert why["png"]
    assert 0 <= why["lowest"] <= why["probability"] <= 1
    assert page.get(f"/picture/{'0' * 64}").status_code == 404


def test_a_decision_is_on_disk_when_it_is_answered(page: Any) -> None:
    item = first(page)
    answer = page.post("/decide", json={"pictures": [item["sha256"]], "decision": "label", "label": item["suggestion"]})
    assert answer.json()["items"][0]["new"] == item["suggestion"]
    assert CorrectionFile(FILE).current()[item["sha256"]].new == item["suggestion"]
    assert page.get("/queue?kind=suspect").json()["first"] == 1
    assert page.post("/undo", json={}).json()["decided"] == 0
    assert CorrectionFile(FILE).current() == {}


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ({"pictures": ["0" * 64], "decision": "accept"}, "no image 000000000000 is in the queue"),
        ({"pictures": "all", "decision": "accept"}, "send"),
        ({"pictures": [], "decision": "burn"}, "one of label"),
        ({"pictures": [], "decision": "undo"}, "/undo"),
    ],
)
def test_what_cannot_be_done_is_one_line(page: Any, content: dict[str, Any], detail: str) -> None:
    answer = page.post("/decide", json=content)
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]
    assert not FILE.exists()


def test_a_label_of_no_class_writes_nothing(page: Any) -> None:
    answer = page.post("/decide", json={"pictures": [first(page)["sha256"]], "decision": "label", "label": "ten"})
    assert answer.status_code == 400
    assert not FILE.exists()


def test_a_disk_that_refuses_is_told_and_nothing_is_kept(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    item = first(page)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    answer = page.post("/decide", json={"pictures": [item["sha256"]], "decision": "remove"})
    monkeypatch.undo()
    assert answer.status_code == 507
    assert "disk is full" in answer.json()["detail"]
    assert CorrectionFile(FILE).rows() == []


def test_no_other_site_may_ask(page: Any) -> None:
    content = {"pictures": [first(page)["sha256"]], "decision": "remove"}
    assert page.post("/decide", json=content, headers={"host": "evil.example:8001"}).status_code == 421
    assert page.post("/decide", json=content, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert page.post("/decide", content=b"{}", headers={"content-type": "text/plain"}).status_code == 400
    assert "default-src 'none'" in page.get("/").headers["content-security-policy"]
    assert not FILE.exists()
