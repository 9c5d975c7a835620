import base64
import hashlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sightline.stages.evaluate import report
from sightline.stages.evaluate.stage import evaluate_split

VOID = {"meta", "link", "img", "source", "br"}


class Page(HTMLParser):
    """Reads a page strictly: tags must nest."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def page(hostile, make_set, model, config, history, tmp_path_factory):
    """The report on classes with hostile names, as a file."""
    data = make_set(hostile, absent_from_test=(2,))
    info = {"name": "<b>net</b>", "train": {"lr": 0.1}, "digest": "0f" * 32}
    out = tmp_path_factory.mktemp("reports")
    evaluate_split(model(len(hostile)), data, config=config, out=out, history=history, model_info=info)
    return out / "report.html"


def test_hostile_names_are_shown_and_never_obeyed(page, hostile):
    text = page.read_text()
    parsed = Page(text)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"iframe", "b"})
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    own = (Path(report.__file__).parent / report.SCRIPT).read_text()
    assert f"<script>{own}</script>" in text
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'\"" in text  # and no other script would run
    assert not any(name.startswith("on") for _, attrs in parsed.tags for name in attrs)
    shown = "".join(parsed.words)
    for name in [*hostile, "<b>net</b>"]:
        assert name in shown


def test_nothing_is_fetched(page):
    for tag, attrs in Page(page.read_text()).tags:
        for name in ("src", "srcset", "href"):
            if name in attrs and not (tag == "a" and attrs[name].startswith("#")):
                assert attrs[name].startswith("data:"), (tag, attrs[name][:80])
    assert "url(" not in page.read_text()


def test_every_picture_is_described_and_every_link_leads_somewhere(page):
    tags = Page(page.read_text()).tags
    assert all(attrs.get("alt") for tag, attrs in tags if tag == "img")
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"][1:] for tag, attrs in tags if tag == "a"} == set(ids)


def test_summary_is_three_sentences(make_set, model, config, tmp_path):
    data = make_set(["a", "b"])
    for errors in (True, False):
        evaluate_split(model(2, errors=errors), data, config=config, out=tmp_path / "reports")
        text = (tmp_path / "reports" / "report.html").read_text()
        summary = text.split('class="summary"')[1].split("</div>")[0]
        assert summary.count("<p>") == 3
        assert ("makes no error" in summary) != errors
