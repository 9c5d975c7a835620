"""The pages in a real browser: nothing fetched, nothing broken, nothing too wide, on a phone and on a desk."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from sightline.compare import comparison, page, run_sources
from sightline.datasets import predictions
from sightline.datasets.audit_findings import FINDINGS
from sightline.stages.evaluate.explain import Explainer
from sightline.stages.evaluate.stage import evaluate_split
from tests.browser.conftest import FOUR_VIEWS

pytestmark = FOUR_VIEWS


def check(seen, file, pictures):
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith("data:") and url != file.as_uri()] == []
    assert len(seen.pictures) >= pictures
    assert all(seen.pictures)
    assert seen.overflow <= 0
    assert seen.wide == []


@pytest.fixture(scope="module")
def report_of_digits(digits, config, history, tmp_path_factory):
    """The report on real digits with every section there is, and a folder with another model's answers."""
    root = tmp_path_factory.mktemp("digits_report")
    test = digits.data.split("test")
    guess = np.full((len(test), 10), 0.1)
    methods = {}
    for name in ("majority", "a_method_of_a_very_long_name"):
        predictions.save_predictions(root / f"{name}.parquet", test.ids, test.labels, guess.argmax(axis=1), guess)
        methods[name] = {"title": f"Always the same answer: {name}", "bytes": 10**7, "parameters": {}}
        methods[name] |= dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "f1_macro"), 0.1)
    (root / "baselines.json").write_text(json.dumps({"methods": methods}))
    (digits.raw / "ingest.json").write_text(json.dumps(audit()))
    evaluate_split(
        digits.predict,
        digits.data,
        config=dataclasses.replace(config, robustness_images=20, resamples=100),
        out=root / "reports",
        history=history,
        raw=digits.raw,
        baselines=root / "baselines.json",
        explainer=Explainer("Grad-CAM", "Bright areas are evidence for it.", lambda x, _: x.mean(axis=3) / 255),
        model_info={"architecture": {"name": "logreg"}, "profile": {"device": "cpu"}, "weights_sha256": "0f" * 32},
    )
    predictions.save_predictions(root / "predictions.parquet", test.ids, test.labels, guess.argmax(axis=1), guess)
    return root


def audit():
    found = {kind.name: {f"{kind.noun}s": 1, "examples": ["a/very/long/path/" * 9]} for kind in FINDINGS}
    kinds = ("", "near_", "source_")
    found["two_splits"] = {f"{kind}groups": 0 for kind in kinds} | {f"{kind}examples": [] for kind in kinds}
    size = {"min": 8, "median": 8, "max": 8}
    found |= {"sizes": {"width": size, "height": size}, "formats": {"PNG": 1000}, "modes": {"L": 1000}}
    return {"inputs": 1003, "accepted": 1000, "rejected": {"truncated": 3}, "audit": found}


@pytest.fixture(scope="module")
def report_of_hostile(hostile, make_set, model, config, tmp_path_factory):
    """The report on classes with hostile names."""
    out = tmp_path_factory.mktemp("hostile_report")
    data = make_set(hostile, absent_from_test=(2,))
    evaluate_split(model(len(hostile)), data, config=dataclasses.replace(config, resamples=100), out=out)
    return out


def test_the_report(report_of_digits, look, width, scheme):
    file = report_of_digits / "reports" / "report.html"
    text = file.read_text()
    sections = (
        "metrics baselines confusion classes ranking certainty errors images typical labels slices robustness training "
        "data lineage limits"
    )
    for section in sections.split():
        assert f'id="{section}"' in text, section
    check(look(file, width, scheme), file, 60)


def test_a_number_of_a_table_shows_its_images(report_of_digits, browser, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto((report_of_digits / "reports" / "report.html").as_uri())
    shown = page.locator("ul.browsed > li:visible")
    everything = shown.count()
    for link in ("td.wrong a.pick", "[aria-label='Scores of each class'] a.pick", "#slices ~ div a.pick"):
        page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
        page.locator(link).first.click()
        assert 0 < shown.count() < everything
        assert page.locator("form.filters output").inner_text() == f"{shown.count()} of the {everything} images here"
    page.locator("form.filters button").click()
    page.wait_for_function(
        "n => document.querySelectorAll('ul.browsed > li:not([hidden])').length === n", arg=everything
    )
    page.locator("select[name=kind]").select_option("wrong")
    assert all(card.get_attribute("data-truth") != card.get_attribute("data-predicted") for card in shown.all())
    page.locator("select[name=order]").select_option("least")
    certainties = [float(card.get_attribute("data-certainty")) for card in shown.all()]
    assert certainties == sorted(certainties)
    context.close()


def test_the_report_of_hostile_names(report_of_hostile, look, width, scheme):
    file = report_of_hostile / "report.html"
    check(look(file, width, scheme), file, 20)


def test_the_comparison(report_of_digits, digits, look, width, scheme):
    pair = run_sources.load_pair(str(report_of_digits), str(report_of_digits / "reports"))
    file = report_of_digits / "compare.html"
    file.write_text(page.render_page(pair, comparison.compare_models(pair.a, pair.b), digits.data.root))
    check(look(file, width, scheme), file, 20)


def test_the_comparison_of_hostile_names_without_pictures(report_of_hostile, look, width, scheme):
    pair = run_sources.load_pair(*[str(report_of_hostile)] * 2)
    a = pair.a
    b = dataclasses.replace(a, name="<b>" + "x" * 90, probabilities=a.probabilities[:, ::-1])
    pair = dataclasses.replace(pair, b=b, settings=[("train.<b>" + "x" * 90, "<b>" + "y" * 200, "-")])
    file = report_of_hostile / "compare.html"
    file.write_text(page.render_page(pair, comparison.compare_models(a, b)))
    check(look(file, width, scheme), file, 9)
