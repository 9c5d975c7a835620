"""The web page in headless Chromium: good, bad, huge and many pictures; keyboard, phone, no network."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.imaging import decode
from sightline.predict.bundle import Bundle
from tests import bundles
from tests.exported import Project
from tests.serve.conftest import Served, serve

pytestmark = pytest.mark.slow

KEY = "a key that nobody would guess"
DROP = """([names, sizes]) => {
  const transfer = new DataTransfer();
  names.forEach((name, i) => transfer.items.add(new File([new Uint8Array(sizes[i])], name, { type: "image/png" })));
  document.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
PASTE = """(text) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    for one in bundles.encoded("fashion-mnist", 30):
        (folder / one.name).write_bytes(one.data)
    return sorted(folder.iterdir())


@pytest.fixture
def page(server: Served, browser: Any) -> Iterator[Any]:
    """The page; a fault in its scripts, or a request to anywhere else, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["camera"])
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda m: faults.append(m.text) if "Content Security Policy" in m.text else None)
    opened.on("request", lambda r: None if r.url.startswith((server.url, "data:", "blob:")) else faults.append(r.url))
    opened.goto(server.url)
    opened.wait_for_selector("#about:enabled")
    yield opened
    context.close()
    assert not faults


def done(page: Any, count: int) -> None:
    page.wait_for_selector(f"#status:has-text('{count} picture'):has-text('done')")


def test_the_answers_are_those_of_the_command_line(page: Any, server: Served, pictures: list[Path]) -> None:
    page.set_input_files("#files", [str(path) for path in pictures])
    done(page, len(pictures))
    with page.expect_download() as download:
        page.click("#save")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    bundle = Bundle.load(server.bundle)
    expected = list(bundle.predict(pictures, threshold=bundle.threshold))
    assert [row["path"] for row in rows] == [path.name for path in pictures]
    assert [row["label"] for row in rows] == [p.label or "" for p in expected]
    for row, p in zip(rows, expected, strict=True):
        assert float(row["probability"]) == pytest.approx(p.probability, abs=1e-6)
    assert page.locator("#results .bars").count() == len(pictures)
    assert any(p.abstained for p in expected)
    assert page.locator(".answer.unsure").count() == sum(p.abstained for p in expected)


def test_foreign_pictures_are_shown_as_such(exported: Project, browser: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    foreign = [rng.integers(0, 256, (28, 28, 1)).astype(np.uint8) for _ in range(10)]
    for place, image in enumerate(foreign):
        (tmp_path / f"noise {place}.png").write_bytes(decode.encode_png(image))
    paths = [*exported.pictures[:20], *sorted(tmp_path.iterdir())]
    expected = {path.name: p for path, p in zip(paths, Bundle.load(exported.bundle).predict(paths), strict=True)}
    context = browser.new_context(viewport={"width": 390, "height": 844})
    with serve(exported.bundle) as server:
        page = context.new_page()
        page.goto(server.url)
        page.wait_for_selector("#about:enabled")
        page.set_input_files("#files", [str(path) for path in paths])
        done(page, len(paths))
        shown = page.eval_on_selector_all(
            "#results > li",
            "all => all.map(i => [i.querySelector('.name').title, i.querySelector('.answer').textContent])",
        )
        with page.expect_download() as download:
            page.click("#save")
        saved = Path(download.value.path()).read_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
    assert len(shown) == len(paths)
    for name, answer in shown:
        novel = (expected[name].novelty or 0) > 1
        assert answer.startswith("Unlike any class the model knows; nearest: ") == novel, (name, answer)
    for row in csv.DictReader(io.StringIO(saved)):
        assert float(row["novelty"]) == pytest.approx(expected[row["path"]].novelty, rel=1e-4)
    assert sum((p.novelty or 0) > 1 for p in expected.values()) >= 10


def test_bad_huge_and_good_side_by_side(page: Any, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0nothing")
    (tmp_path / "text.png").write_text("<script>alert(1)</script>")
    (tmp_path / "<img src=x onerror=alert(1)>.png").write_bytes(pictures[0].read_bytes())
    (tmp_path / "wide.png").write_bytes(decode.encode_png(np.zeros((8000, 8000, 1), np.uint8)))
    page.set_input_files("#files", [str(path) for path in sorted(tmp_path.iterdir())])
    done(page, 4)
    problems = page.locator(".problem").all_inner_texts()
    assert len(problems) == 3
    assert {"broken.jpg", "text.png", "wide.png"} <= set(page.locator(".name").all_inner_texts())
    assert any("too many pixels" in text for text in problems)
    assert any("not a picture" in text for text in problems)
    assert page.locator("#results script, #results img[onerror]").count() == 0
    assert "3 could not be read" in page.inner_text("#status")


def test_dropped_and_pasted(page: Any, pictures: list[Path]) -> None:
    import base64

    page.evaluate(DROP, [["huge.png", "small.png"], [33 * 2**20, 10]])
    done(page, 2)
    assert any("32 MB are allowed" in text for text in page.locator(".problem").all_inner_texts())
    page.evaluate(PASTE, base64.b64encode(pictures[0].read_bytes()).decode())
    done(page, 3)
    assert page.locator(".name").first.inner_text() == "pasted.png"
    page.click("#clear")
    assert page.locator("#results li").count() == 0


SLOW_CAMERA = """() => {
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = async function () {
    await new Promise((resolve) => { window.begin = resolve; });
    if (!this.srcObject) throw new DOMException("interrupted by a new load request", "AbortError");  // as browsers do
    return play.call(this);
  };
}"""


def test_a_camera_that_is_closed_before_its_first_frame(page: Any) -> None:
    page.evaluate(SLOW_CAMERA)
    page.click("#photo")
    page.wait_for_selector("#camera[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#camera:not([open])", state="attached")
    page.evaluate("window.begin()")
    page.click("#photo")
    page.wait_for_selector("#camera[open] #shoot:disabled")


def test_a_photograph(page: Any) -> None:
    page.evaluate(SLOW_CAMERA)
    page.click("#photo")
    page.wait_for_selector("#camera[open] #shoot:disabled")
    page.evaluate("window.begin()")
    page.click("#shoot")
    done(page, 1)
    assert re.match(r"photo .*\.png", page.inner_text(".name"))


def test_why(page: Any, pictures: list[Path]) -> None:
    page.set_input_files("#files", str(pictures[0]))
    done(page, 1)
    page.click("button:has-text('Why?')")
    page.wait_for_selector(".heat img")
    assert "Covering" in page.inner_text(".why")
    assert page.locator(".steps strong").all_inner_texts() == ["original", "resize"]
    shown = page.evaluate("[...document.querySelectorAll('.why img')].every((i) => i.complete && i.naturalWidth > 0)")
    assert shown
    page.click("button:has-text('Hide why')")
    assert not page.is_visible(".why")


def test_the_model_card(page: Any) -> None:
    page.click("#about")
    body = page.inner_text("#card")
    assert "Small test model" in body
    assert "Not for use" in body
    assert "**" not in body
    assert "pur_pose | <b>" in body
    page.keyboard.press("Escape")
    assert not page.is_visible("#card")


def test_by_keyboard_alone(page: Any, pictures: list[Path]) -> None:
    names = []
    for _ in range(5):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent"))
    assert names == ["Skip to the images", "About this model", "API", "Choose pictures", "Take a photo"]
    with page.expect_file_chooser() as chooser:
        page.focus("#pick")  # a round trip, in which the browser learns that the chooser is awaited
        page.keyboard.press("Enter")
    chooser.value.set_files(str(pictures[0]))
    done(page, 1)
    page.locator("button:has-text('Why?')").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".heat")
    assert page.evaluate("document.activeElement.textContent") == "Hide why"


def test_what_a_screen_reader_hears(page: Any, pictures: list[Path]) -> None:
    page.set_input_files("#files", str(pictures[0]))
    done(page, 1)
    page.click("button:has-text('Why?')")
    page.wait_for_selector(".heat")
    tree = page.locator("body").aria_snapshot()
    for part in ("heading \"What is in this picture?\"", "status: 1 picture done", "list \"Most probable classes\"",
                 "slider \"Strength of the heat map\"", "img \"The picture, with a heat map."):  # fmt: skip
        assert part in tree
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input:not([hidden]), a')].filter((e) => !e.hidden && "
        "!(e.textContent || e.ariaLabel || e.labels?.length || e.labels?.[0]?.textContent)).length"
    )
    assert nameless == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(page: Any, pictures: list[Path], scheme: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)
    page.set_input_files("#files", [str(path) for path in pictures[:3]])
    done(page, 3)
    page.locator("button:has-text('Why?')").first.click()
    page.wait_for_selector(".heat")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(SMALL) == 0  # WCAG 2.2, 2.5.8
    assert page.evaluate(CONTRAST) == []


# Elements whose text stands out from its background by less than WCAG's 4.5 to 1.
CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const ratio = (one) => {
    const pair = [light(parse(getComputedStyle(one).color)), light(behind(one))].sort((a, b) => b - a);
    return (pair[0] + .05) / (pair[1] + .05);
  };
  const says = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.offsetHeight && says(one) && ratio(one) < 4.5)
    .map((one) => one.outerHTML.slice(0, 80));
}"""
SMALL = "[...document.querySelectorAll('button')].filter((b) => b.offsetHeight && b.offsetHeight < 24).length"


def test_the_description_of_the_api(page: Any, server: Served) -> None:
    page.goto(f"{server.url}/docs")
    page.wait_for_selector(".call")
    assert page.locator(".call h2").all_inner_texts()[0].split() == ["POST", "/predict"]
    assert server.url in page.inner_text("main")


def test_a_server_that_asks_for_a_key(clothes: Path, browser: Any, pictures: list[Path]) -> None:
    with serve(clothes, key=KEY) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        page.fill("#key-value", "not the right key")
        page.click("#key button")
        page.wait_for_selector("#key-wrong:has-text('not accepted')")
        page.fill("#key-value", KEY)
        page.keyboard.press("Enter")
        page.wait_for_selector("#about:enabled")
        page.set_input_files("#files", str(pictures[0]))
        done(page, 1)
        assert page.locator(".problem").count() == 0
        context.close()


def test_a_server_that_is_gone(clothes: Path, browser: Any, pictures: list[Path]) -> None:
    with serve(clothes) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(server.url)
        page.wait_for_selector("#about:enabled")
        server.process.terminate()
        server.process.wait(20)
        page.set_input_files("#files", str(pictures[0]))
        done(page, 1)
        assert "cannot be reached" in page.inner_text(".problem")
        context.close()
