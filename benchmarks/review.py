"""Review: wrong labels found in the first rows, accuracy after correction, gain of active learning, speed of the page.

    python benchmarks/review.py labels [--set digits] [--images 1797] [key=value ...]
    python benchmarks/review.py active [--seeds 5] [--images 4000] [--rounds 3] [--label 100]
    python benchmarks/review.py page [--images 5000] [--side 28] [--kills 20]

Labels: a copy of the project runs three times: with the correct labels, with 3 % of them changed at random, and after a
scripted reviewer has answered the first rows of the queue, 1.5 times as many as there are wrong labels (`sightline
review --export` and `--import`). Targets: at least 80 % of the changed labels are found, and the accuracy returns to
the confidence interval of the first run.

Active: on Fashion-MNIST, a linear classifier on histograms of gradients is trained on a few labelled images of a pool.
In each round, `--label` more images are labelled: either the first of the review's ranking of unlabelled images, or a
random choice. Both start from the same images. Target: a higher accuracy on 2,000 test images with the same number of
labels, paired over seeds.

Page: the given number of Fashion-MNIST pictures, enlarged to `--side` pixels, are in the queue of a page in headless
Chromium (given by the variable CHROMIUM, or found on the path). On a desktop and a phone screen, 100 keys are pressed
one after another, and the time from each to the display of the next picture and its neighbours is measured; 50 more
follow when nearly all rows are decided. Targets: a median below 100 ms, including the write of the decision to disk,
and 60 frames per second while the grid scrolls. Then `--kills` servers are killed (`kill -9`) while decisions are sent.
Target: no confirmed decision is lost, and every row is complete.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gzip
import http.client
import json
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from benchmarks import copies

SHARE = 0.03
ROWS = 1.5
"""Rows that the reviewer answers, as a multiple of the number of wrong labels."""

Labelled = list[tuple[str, bytes, str]]


def digits(count: int) -> Labelled:
    """Returns scikit-learn's digits as (id, PNG, label)."""
    from sightline.sources.digits import DigitsSource

    return [(record.id, record.data, str(record.label)) for record in DigitsSource(count).records()]


def fashion_arrays(part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Returns the images [n, 28, 28, 1] and labels [n] of Fashion-MNIST's part "train" or "t10k"."""
    root = Path(os.environ["SIGHTLINE_SHARED_DATA"]) / "fashion-mnist"
    pixels = np.frombuffer(gzip.decompress((root / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((root / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return pixels.reshape(-1, 28, 28, 1), labels.astype(np.int64)


def fashion(count: int) -> Labelled:
    """Returns the first training images of Fashion-MNIST as (id, PNG, label)."""
    from sightline.imaging.decode import encode_png

    images, labels = fashion_arrays("train")
    return [(f"clothes-{at:05}", encode_png(images[at]), f"class {labels[at]}") for at in range(count)]


def write_list(root: Path, labels: dict[str, str]) -> None:
    """Writes the table of pictures and labels that is the source."""
    with (root / "labels.csv").open("w", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label"])
        rows.writerows((f"pictures/{identity}.png", label) for identity, label in labels.items())


def accuracy(root: Path) -> dict[str, float]:
    """Runs the pipeline up to the headline stage, and returns the headline metrics."""
    copies.run(root, "dvc", "repro", "headline")
    headline: dict[str, float] = json.loads((root / "reports/metrics.json").read_text())
    return headline


def labels(name: str, count: int, overrides: list[str]) -> None:
    """Prints how many wrong labels a scripted reviewer finds, and the accuracies."""
    pictures = {"digits": digits, "fashion": fashion}[name](count)
    truth = {identity: label for identity, _, label in pictures}
    classes = sorted(set(truth.values()))
    random = np.random.default_rng(0)
    wrong = dict(truth)
    for at in random.choice(len(pictures), round(SHARE * len(pictures)), replace=False):
        identity, _, label = pictures[at]
        wrong[identity] = classes[(classes.index(label) + int(random.integers(1, len(classes)))) % len(classes)]
    changed = {identity for identity in truth if wrong[identity] != truth[identity]}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        copies.make(root)
        (root / "pictures").mkdir()
        for identity, data, _ in pictures:
            (root / "pictures" / f"{identity}.png").write_bytes(data)
        params = yaml.safe_load((root / "params.yaml").read_text())
        settings = ["ingest.source=table", "ingest.path=labels.csv", "baseline.methods=[majority]", *overrides]
        for key, _, value in (word.partition("=") for word in settings):
            section, _, knob = key.partition(".")
            params[section][knob] = yaml.safe_load(value)
        (root / "params.yaml").write_text(yaml.safe_dump(params))
        for state, given in (("right labels", truth), ("3 % wrong", wrong)):
            write_list(root, given)
            print(line(state, accuracy(root)), flush=True)
        copies.run(root, "sightline", "review", "--export", "tasks.json")
        tasks: list[dict[str, Any]] = json.loads((root / "tasks.json").read_text())[: round(ROWS * len(changed))]
        for task in tasks:
            choice = {"choices": [truth[Path(task["data"]["id"]).stem]]}
            result = {"from_name": "label", "to_name": "image", "type": "choices", "value": choice}
            task["annotations"] = [{"result": [result]}]
        (root / "answered.json").write_text(json.dumps(tasks))
        print(copies.run(root, "sightline", "review", "--import", "answered.json").strip().splitlines()[-1])
        found = changed & {Path(task["data"]["id"]).stem for task in tasks}
        share = len(found) / len(changed)
        verdict = "reached" if share >= 0.8 else "missed"
        print(f"{len(found)} of {len(changed)} in {len(tasks)} rows: {share:.0%}, target 80 %: {verdict}", flush=True)
        print(line("corrected", accuracy(root)), flush=True)


def line(state: str, headline: dict[str, float]) -> str:
    """Returns a line that describes a run."""
    low, high = headline["acc_low"], headline["acc_high"]
    return f"{state:<13} accuracy {headline['accuracy']:.4f} ({low:.4f} to {high:.4f})"


def active(seeds: int, count: int, rounds: int, label: int) -> None:
    """Prints the accuracies of both selection methods for each seed, and their differences."""
    from sklearn.linear_model import LogisticRegression

    from sightline.review.review_ranking import informative
    from sightline.stages.baseline.methods.hog_svm import hog

    images, truth = (part[:6000] for part in fashion_arrays("train"))
    tests, answers = (part[:2000] for part in fashion_arrays("t10k"))
    features = hog(images, 4).astype(np.float32)
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    features, tests = (features - mean) / spread, (hog(tests, 4) - mean) / spread
    axes = np.linalg.svd(features[:2000], full_matrices=False)[2][:64].T
    features, tests = features @ axes, tests @ axes
    embeddings = features / np.linalg.norm(features, axis=1, keepdims=True)
    differences = []
    for seed in range(seeds):
        pool = np.random.default_rng(seed).choice(len(features), count, replace=False)
        scores: dict[str, list[float]] = {}
        for way in ("ranked", "random"):
            random = np.random.default_rng(1000 + seed)
            known = list(range(label))
            scores[way] = []
            for _ in range(rounds + 1):
                model = LogisticRegression(C=0.05, max_iter=500).fit(features[pool[known]], truth[pool[known]])
                scores[way].append(float(model.score(tests, answers)))
                rest = np.setdiff1d(np.arange(count), known)
                if way == "ranked":
                    probabilities = model.predict_proba(features[pool[rest]]).astype(np.float32)
                    known += rest[informative(probabilities, embeddings[pool[rest]], label, seed)[:label]].tolist()
                else:
                    known += random.choice(rest, label, replace=False).tolist()
        differences.append(np.subtract(scores["ranked"], scores["random"]))
        ways = "; ".join(f"{way} {np.round(of, 3).tolist()}" for way, of in scores.items())
        print(f"seed {seed}: {ways}", flush=True)
    curve = np.array(differences)[:, 1:].mean(axis=1)
    t = curve.mean() / (curve.std(ddof=1) / np.sqrt(seeds))
    print(f"over the curve: {curve.mean():+.4f}, t = {t:.2f}, higher in {(curve > 0).sum()} of {seeds}")
    for place in range(1, rounds + 1):
        gains = np.array(differences)[:, place]
        t = gains.mean() / (gains.std(ddof=1) / np.sqrt(seeds))
        higher = int((gains > 0).sum())
        print(f"{label * (place + 1)} labels: {gains.mean():+.4f}, t = {t:.2f}, higher in {higher} of {seeds}")


def page(count: int, side: int, kills: int) -> None:
    """Prints the page's response times and the server's memory, then kills servers while decisions are sent."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        _prepare(count, side)
        with _served() as (url, server), sync_playwright() as playwright:
            program = os.environ.get("CHROMIUM") or shutil.which("chromium")
            browser = playwright.chromium.launch(args=["--no-sandbox"], executable_path=program)
            for name, width, height in (("desktop", 1280, 900), ("phone", 390, 844)):
                tab = browser.new_page(viewport={"width": width, "height": height})
                begun = time.perf_counter()
                tab.goto(url)
                tab.wait_for_selector("#near img")
                print(f"{name}: first picture after {1000 * (time.perf_counter() - begun):.0f} ms")
                _print_times(f"{name}: key to next picture", [tab.evaluate(_PRESS, "Enter") for _ in range(100)])
                tab.keyboard.press(".")
                tab.wait_for_selector("#cells li img")
                _print_times(f"{name}: a page of the grid turned", [tab.evaluate(_TURN) for _ in range(20)])
                _print_times(f"{name}: a frame while the grid scrolls", tab.evaluate(_SCROLL))
                tab.close()
            _decide(url, _queue(url)[: count - 300])
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.goto(url)
            tab.wait_for_selector("#near img")
            rows = len(CORRECTIONS.read_text().splitlines()) - 1
            _print_times(
                f"after {rows:,} decisions, key to next picture", [tab.evaluate(_PRESS, "-") for _ in range(50)]
            )
            browser.close()
            print(f"memory of the server: {_megabytes(server, 'VmRSS')} MB, at most {_megabytes(server, 'VmHWM')} MB")
        CORRECTIONS.unlink()
        _kill_many(kills)


CORRECTIONS = Path("corrections.csv")


def _kill_many(kills: int) -> None:
    """Kills servers at random moments in a stream of decisions, and prints how many confirmed decisions are lost."""
    from sightline.datasets.corrections import CorrectionFile

    random = np.random.default_rng(0)
    told: list[str] = []
    for _ in range(kills):
        with _served() as (url, server):
            waiting = [item["sha256"] for item in _queue(url) if item["decision"] is None]
            threading.Timer(float(random.uniform(0.02, 0.5)), server.kill).start()
            with contextlib.suppress(OSError, http.client.HTTPException):
                for sha256 in waiting:
                    _decide(url, [{"sha256": sha256}])
                    told.append(sha256)
    kept = [row.sha256 for row in CorrectionFile(CORRECTIONS).rows()]
    lost = set(told) - set(kept)
    whole = len(kept) == len(set(kept)) == len(CORRECTIONS.read_text().splitlines()) - 1
    print(f"{kills} servers killed: of {len(told):,} decisions that they confirmed, {len(lost)} are lost", end="; ")
    print(f"{len(kept):,} rows, {'all whole' if whole else 'NOT ALL WHOLE'}")


def _decide(url: str, items: list[dict[str, Any]]) -> None:
    content = {"pictures": [item["sha256"] for item in items], "decision": "accept"}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/decide", json.dumps(content).encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        answer.read()


def _queue(url: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    total = 1
    while len(items) < total:
        with urllib.request.urlopen(f"{url}/queue?start={len(items)}") as answer:  # noqa: S310
            part = json.loads(answer.read())
        items += part["items"]
        total = part["total"]
    return items


def _print_times(what: str, milliseconds: list[float]) -> None:
    ordered = sorted(milliseconds)
    print(
        f"{what}: {np.median(ordered):.0f} ms, 95 % within {ordered[int(0.95 * len(ordered)) - 1]:.0f} ms", flush=True
    )


def _megabytes(server: multiprocessing.Process, field: str) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(field))) // 1024


@contextlib.contextmanager
def _served() -> Iterator[tuple[str, multiprocessing.Process]]:
    # Not forked: a fork would inherit this process's memory and Playwright's threads.
    context = multiprocessing.get_context("spawn")
    addresses: multiprocessing.Queue[str] = context.Queue()
    server: Any = context.Process(target=_serve, args=(addresses,), daemon=True)
    server.start()
    try:
        yield addresses.get(timeout=600).rstrip("/"), server
    finally:
        server.kill()
        server.join()


_PRESS = """(key) => new Promise((resolve) => {
  const name = document.querySelector("#name"), near = document.querySelector("#near"), begin = performance.now();
  const before = name.textContent;
  new MutationObserver((_, watch) => {
    if (name.textContent === before || !near.childElementCount) return;
    watch.disconnect();
    resolve(performance.now() - begin);
  }).observe(near, { childList: true });
  dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
})"""
_TURN = """() => new Promise((resolve) => {
  const begin = performance.now();
  new MutationObserver((_, watch) => { watch.disconnect(); resolve(performance.now() - begin); })
    .observe(document.querySelector("#cells"), { childList: true });
  dispatchEvent(new KeyboardEvent("keydown", { key: "PageDown", bubbles: true }));
})"""
_SCROLL = """async () => {
  const spent = [], frame = () => new Promise(requestAnimationFrame);
  let before = await frame();
  for (let number = 0; number < 60; number += 1) {
    scrollBy(0, number < 30 ? 40 : -40);
    const now = await frame();
    spent.push(now - before);
    before = now;
  }
  return spent;
}"""


def _prepare(count: int, side: int) -> None:
    """Writes pictures as ingestion does, enlarged if `side` exceeds their 28 pixels."""
    import cv2

    from sightline.core import files
    from sightline.datasets.raw_set import RawImage, write_raw_shards

    images, labels = fashion_arrays("train")

    def pictures() -> Iterator[RawImage]:
        for at in range(count):
            pixels, form = images[at], (".png", "PNG") if side <= 28 else (".jpg", "JPEG")
            if side > 28:
                pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_CUBIC)
            data = cv2.imencode(form[0], pixels)[1].tobytes()
            digest, size = files.sha256(data), pixels.shape[0]
            yield RawImage(f"{at:05}", data, f"class {labels[at]}", None, None, None, digest, form[1], size, size)

    Path("raw").mkdir()
    write_raw_shards(pictures(), Path("raw"))


def _serve(addresses: Any) -> None:
    """Serves a queue of the pictures with made-up suspicions, whose quality does not matter here."""
    from sightline.datasets.corrections import CorrectionFile
    from sightline.datasets.raw_set import raw_shards
    from sightline.datasets.raw_shard_file import read_columns
    from sightline.review.desk import ReviewDesk
    from sightline.review.judgements import Judgements
    from sightline.review.picture_store import PictureStore
    from sightline.review.review_app import review_application
    from sightline.review.review_project import ReviewProject
    from sightline.review.review_queue import Kind, ReviewItem
    from sightline.serve.config import ServeConfig
    from sightline.serve.server import run_application

    raw = Path("raw")
    columns = [read_columns(shard.path).to_pydict() for shard in raw_shards(raw)]
    ids, labels, digests = ([each for of in columns for each in of[name]] for name in ("id", "label", "sha256"))
    count, random = len(ids), np.random.default_rng(0)
    classes = sorted(set(labels))
    numbers = np.array([classes.index(label) for label in labels], np.int64)
    probabilities = random.dirichlet(np.ones(len(classes)), count).astype(np.float32)
    embeddings = random.normal(size=(count, 128)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    judged = Judgements(classes, ids, digests, ["train"] * count, numbers, probabilities, embeddings)
    items = [
        ReviewItem(digests[at], ids[at], Kind.SUSPECT, labels[at], classes[0], 0.0, "made up", "train", at)
        for at in range(count)
    ]
    desk = ReviewDesk(items, classes, CorrectionFile(CORRECTIONS), "Ann")
    judge: Any = None  # this benchmark recomputes no judgements
    project = ReviewProject(desk, judged, PictureStore(raw, {}), count, judge)
    run_application(review_application(project, ServeConfig(port=0)), ServeConfig(port=0), addresses.put)


def main() -> None:
    """Runs the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    one = modes.add_parser("labels")
    one.add_argument("--set", choices=("digits", "fashion"), default="digits")
    one.add_argument("--images", type=int, default=1797)
    one.add_argument("overrides", nargs="*", metavar="key=value")
    two = modes.add_parser("active")
    two.add_argument("--seeds", type=int, default=5)
    two.add_argument("--images", type=int, default=4000)
    two.add_argument("--rounds", type=int, default=3)
    two.add_argument("--label", type=int, default=100)
    three = modes.add_parser("page")
    three.add_argument("--images", type=int, default=5000)
    three.add_argument("--side", type=int, default=28)
    three.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    if given.mode == "page":
        page(given.images, given.side, given.kills)
    elif given.mode == "labels":
        labels(given.set, given.images, given.overrides)
    else:
        active(given.seeds, given.images, given.rounds, given.label)


if __name__ == "__main__":
    main()
