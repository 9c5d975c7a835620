"""Review: how many wrong labels a reviewer of the first rows finds, what that mends, and what active learning gains.

    python benchmarks/review.py labels [--set digits] [--images 1797] [key=value ...]
    python benchmarks/review.py active [--seeds 5] [--images 4000] [--rounds 3] [--label 100]
    python benchmarks/review.py page [--images 5000]

Labels: a copy of the project runs three times: on the right labels, with 3 % of them changed at random, and once a
scripted reviewer has answered the first 1.5 times as many rows of the queue (`sightline review --export` and
`--import`). Targets: at least 80 % of the changed labels found, and an accuracy back within the interval of the first
run's.

Active: on Fashion-MNIST, a linear classifier on histograms of gradients is trained on few labelled images of a pool; in
each round as many are labelled as the review's ranking of unlabelled images puts first, or as chance picks; the same
start for both. Target: a higher accuracy on 2,000 test images at equal labels, paired over seeds.

Page: so many pictures of Fashion-MNIST in the queue of a page in headless Chromium (the variable CHROMIUM, or
Playwright's own); 100 keys are pressed, one after another, and the milliseconds are counted from each until the next
picture and its neighbours are there. Target: a median of less than 100 ms, the decision on disk included.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from benchmarks import copies

SHARE = 0.03
ROWS = 1.5
"""Times as many rows of the queue as labels are wrong: what the reviewer answers."""

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
    """Writes the list of pictures that is the source."""
    with (root / "labels.csv").open("w", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label"])
        rows.writerows((f"pictures/{identity}.png", label) for identity, label in labels.items())


def accuracy(root: Path) -> dict[str, float]:
    """Runs the pipeline up to the headline, and returns it."""
    copies.run(root, "dvc", "repro", "headline")
    headline: dict[str, float] = json.loads((root / "reports/metrics.json").read_text())
    return headline


def labels(name: str, count: int, overrides: list[str]) -> None:
    """Prints what a scripted reviewer finds, and the accuracies."""
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
    """Returns a line on a run."""
    low, high = headline["acc_low"], headline["acc_high"]
    return f"{state:<13} accuracy {headline['accuracy']:.4f} ({low:.4f} to {high:.4f})"


def active(seeds: int, count: int, rounds: int, label: int) -> None:
    """Prints the accuracies of both ways to choose, seed by seed, and their differences."""
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


def page(count: int) -> None:
    """Prints the milliseconds from key to picture."""
    import multiprocessing

    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        addresses: multiprocessing.Queue[str] = multiprocessing.Queue()
        server = multiprocessing.Process(target=_serve, args=(count, addresses), daemon=True)
        server.start()
        url = addresses.get(timeout=600)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(args=["--no-sandbox"], executable_path=os.environ.get("CHROMIUM"))
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            begin = time.perf_counter()
            tab.goto(url)
            tab.wait_for_selector("#near img")
            print(f"first picture after {1000 * (time.perf_counter() - begin):.0f} ms")
            spent = sorted(tab.evaluate(_PRESS, "Enter") for _ in range(100))
            tab.keyboard.press(".")
            tab.wait_for_selector("#cells li img")
            turned = sorted(tab.evaluate(_TURN) for _ in range(20))
            browser.close()
        server.terminate()
        rows = len(Path("corrections.csv").read_text().splitlines()) - 1
    print(
        f"{count:,} pictures, {rows} rows: key to next picture {spent[50]:.0f} ms, 95 of 100 within {spent[94]:.0f} ms"
    )
    print(f"a page of the grid turned in {turned[10]:.0f} ms, 19 of 20 within {turned[18]:.0f} ms")


_PRESS = """(key) => new Promise((resolve) => {
  const name = document.querySelector("#name"), near = document.querySelector("#near"), begin = performance.now();
  const before = name.textContent;
  new MutationObserver((_, watch) => {
    if (name.textContent !== before) { watch.disconnect(); resolve(performance.now() - begin); }
  }).observe(near, { childList: true });
  dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
})"""
_TURN = """() => new Promise((resolve) => {
  const begin = performance.now();
  new MutationObserver((_, watch) => { watch.disconnect(); resolve(performance.now() - begin); })
    .observe(document.querySelector("#cells"), { childList: true });
  dispatchEvent(new KeyboardEvent("keydown", { key: "PageDown", bubbles: true }));
})"""


def _serve(count: int, addresses: Any) -> None:
    """Serves a queue of pictures, with judgements made up: how good they are does not matter here."""
    from sightline.core import files
    from sightline.datasets.corrections import CorrectionFile
    from sightline.datasets.raw_set import RawImage, write_raw_shards
    from sightline.review.desk import ReviewDesk
    from sightline.review.judgements import Judgements
    from sightline.review.picture_store import PictureStore
    from sightline.review.review_app import review_application
    from sightline.review.review_project import ReviewProject
    from sightline.review.review_queue import Kind, ReviewItem
    from sightline.serve.config import ServeConfig
    from sightline.serve.server import run_application

    pictures = [(identity, data, label, files.sha256(data)) for identity, data, label in fashion(count)]
    raw = Path("raw")
    raw.mkdir()
    write_raw_shards(
        (RawImage(i, data, label, None, None, None, digest, "PNG", 28, 28) for i, data, label, digest in pictures), raw
    )
    random = np.random.default_rng(0)
    ids, _, labels, digests = (list(column) for column in zip(*pictures, strict=True))
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
    desk = ReviewDesk(items, classes, CorrectionFile(Path("corrections.csv")), "Ann")
    judge: Any = None  # nothing is judged anew here
    project = ReviewProject(desk, judged, PictureStore(raw, {}), count, judge)
    run_application(review_application(project, ServeConfig(port=0)), ServeConfig(port=0), addresses.put)


def main() -> None:
    """Reads the command line."""
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
    given = parser.parse_args()
    if given.mode == "page":
        page(given.images)
    elif given.mode == "labels":
        labels(given.set, given.images, given.overrides)
    else:
        active(given.seeds, given.images, given.rounds, given.label)


if __name__ == "__main__":
    main()
