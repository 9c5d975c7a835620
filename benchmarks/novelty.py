"""Novelty scores and prediction sets on real pictures: the evidence for the choice of the scores.

    python benchmarks/novelty.py --splits 20

For each dataset (8x8 digits, MNIST, Fashion-MNIST, photographs of hands; digits without 8 and 9), a small network is
trained once, on images that are not used below. The other images are split at random into validation and test images.
The validation images set each score's threshold for a false alarm rate of 5 %, and the thresholds of the prediction
sets for a coverage of 95 %.

The output shows the share of refused images among the test images, the images of each other dataset and noise, and the
area under the ROC curve. All images are encoded files that go through the dataset's own preprocessing. A pair of scores
refuses an image if either score does, each with half the false alarm rate.

The output then compares the results with the guarantees: in how many splits, and in how many classes of a split, the
number of false alarms does not exceed the 95 % quantile of the beta-binomial distribution that the guarantee implies
for these numbers of validation and test images; and how many classes of a split have prediction sets that contain the
true class at least as often as that distribution's 5 % quantile. For the sets it also shows the coverage, overall and
of the least and best covered class, and the mean size. Needs SIGHTLINE_SHARED_DATA.
"""

from __future__ import annotations

import argparse
import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import betabinom, rankdata
from sklearn.datasets import load_digits

from sightline.imaging import decode
from sightline.imaging.transform.pipeline import Transform
from sightline.imaging.transform.resize import Stretch
from sightline.imaging.transform.step import Nothing
from sightline.metrics import conformal
from sightline.metrics.conformity_scores import CONFORMITY_SCORES
from sightline.models import novelty_detector
from sightline.models.architectures.cnn import Cnn
from sightline.models.classifier import Classifier, build_classifier

RATE, COVERAGE, FOREIGN = 0.05, 0.95, 300
SHARED = Path(os.environ.get("SIGHTLINE_SHARED_DATA", "../shared/data"))

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Images, embeddings and logits -> novelty [n]; larger is more novel."""


@dataclass(frozen=True)
class Pictures:
    """A dataset: encoded images, class indices, image size and channels, number of training images and epochs."""

    data: list[bytes]
    labels: np.ndarray
    size: int = 28
    channels: int = 1
    taught: int = 3000
    epochs: int = 4


def idx(name: str, count: int = 6000) -> Pictures:
    """Reads the first training images of an IDX set."""
    raw = [gzip.decompress((SHARED / name / f"train-{part}.gz").read_bytes()) for part in
           ("images-idx3-ubyte", "labels-idx1-ubyte")]  # fmt: skip
    pixels = np.frombuffer(raw[0], np.uint8, offset=16).reshape(-1, 28, 28, 1)[:count]
    return Pictures([decode.encode_png(image) for image in pixels], np.frombuffer(raw[1], np.uint8, offset=8)[:count])


def digits(classes: int = 10) -> tuple[Pictures, list[bytes]]:
    """Returns the digits below `classes`, and the images of the other digits."""
    found = load_digits()
    encoded = [decode.encode_png(np.round(image * 255 / 16).astype(np.uint8)[..., None]) for image in found.images]
    known = [place for place, label in enumerate(found.target) if label < classes]
    others = [data for data, label in zip(encoded, found.target, strict=True) if label >= classes]
    return Pictures([encoded[i] for i in known], found.target[known], 16, taught=len(known) // 2, epochs=15), others


def hands() -> Pictures:
    """Reads the photographs of hands."""
    paths = sorted((SHARED / "sign-language-digits").glob("*/*.*"))
    labels = np.array([int(path.parent.name) for path in paths])
    return Pictures([path.read_bytes() for path in paths], labels, 32, 3, taught=1200, epochs=20)


def noise(count: int = FOREIGN) -> list[bytes]:
    """Draws grey noise with three grain sizes."""
    rng = np.random.default_rng(0)
    grains = [rng.integers(0, 256, (side, side, 1)).astype(np.uint8) for side in (8, 28, 64) * (count // 3)]
    return [decode.encode_png(image) for image in grains]


def learn(images: np.ndarray, labels: np.ndarray, epochs: int) -> Classifier:
    """Trains a small network."""
    torch.manual_seed(0)
    option = Cnn("cnn", 16, None, 64, 0.2, "full")
    depth = images.shape[-1]
    levels = images.reshape(-1, depth) / 255
    mean, deviation = levels.mean(axis=0).tolist(), levels.std(axis=0).tolist()
    model = build_classifier(option, images.shape[1:], int(labels.max()) + 1, mean, deviation)
    steps = epochs * -(-len(images) // 32)
    optimizer = torch.optim.AdamW(model.train().parameters(), 0.002)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.004, total_steps=steps)
    x, y = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(32):
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def scores(
    model: Classifier, images: np.ndarray, embeddings: np.ndarray, labels: np.ndarray
) -> tuple[dict[str, Score], novelty_detector.NoveltyDetector]:
    """Returns the scores to compare, each fitted to the network's training images, and the bundle's own detector."""
    e = embeddings.astype(float)
    weight, bias = (p.detach().numpy().astype(float) for p in (model.head.weight, model.head.bias))
    unit = e / np.linalg.norm(e, axis=1, keepdims=True).clip(1e-12)

    def energy(logits: np.ndarray) -> np.ndarray:
        top = logits.max(axis=1)
        return -(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)))

    def softmax(_: np.ndarray, __: np.ndarray, logits: np.ndarray) -> np.ndarray:
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return 1 - shifted.max(axis=1) / shifted.sum(axis=1)

    def neighbour(_: np.ndarray, embedded: np.ndarray, __: np.ndarray) -> np.ndarray:
        mine = embedded / np.linalg.norm(embedded, axis=1, keepdims=True).clip(1e-12)
        return -np.sort(mine @ unit.T, axis=1)[:, -10]

    origin = -np.linalg.pinv(weight) @ bias
    rest = np.linalg.eigh(np.cov((e - origin).T))[1][:, : e.shape[1] // 2]  # ViM's residual space
    level = (e @ weight.T + bias).max(axis=1).mean() / np.linalg.norm((e - origin) @ rest, axis=1).mean()

    def vim(_: np.ndarray, embedded: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return level * np.linalg.norm((embedded - origin) @ rest, axis=1) + energy(logits)

    values = novelty_detector.features(images, embeddings)
    count, width = values.shape[1], e.shape[1]
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    directions = novelty_detector.directions_for(size, width, count - width, len(weight))
    ours = novelty_detector.fit(values, labels, count - width, directions)
    plain = novelty_detector.fit(e, labels, 0, width)

    def mahalanobis(_: np.ndarray, embedded: np.ndarray, __: np.ndarray) -> np.ndarray:
        at = (embedded - plain.center) * plain.scale @ plain.drawn @ plain.projection.astype(float)
        return np.sqrt(((at[:, None] - plain.means[None]) ** 2).sum(axis=2).min(axis=1))

    compared = {
        "softmax": softmax,
        "energy": lambda _, __, logits: energy(logits),
        "ViM": vim,
        "10-NN": neighbour,
        "Mahalanobis": mahalanobis,
        "with pixels": lambda pixels, embedded, _: ours.distances(pixels, embedded),
    }
    return compared, ours


def auroc(known: np.ndarray, foreign: np.ndarray) -> float:
    """Returns the area under the ROC curve: the probability that a foreign image is more novel than a known one."""
    ranks = rankdata(np.concatenate([known, foreign]))
    return float((ranks[len(known) :].sum() - len(foreign) * (len(foreign) + 1) / 2) / len(known) / len(foreign))


def measure_set(name: str, pictures: Pictures, foreign: dict[str, list[bytes]], splits: int) -> None:
    """Prints the figures of one dataset."""
    nothing = Nothing("none")
    steps = {"clean": nothing, "denoise": nothing, "enhance": nothing, "segment": nothing}
    transform = Transform.build(pictures.size, pictures.channels, [0] * pictures.channels, resize=Stretch("stretch"),
                                **steps)  # fmt: skip
    order = np.random.default_rng(0).permutation(len(pictures.data))
    images = np.stack([transform.decode(pictures.data[place]) for place in order])
    labels = pictures.labels[order].astype(np.int64)
    taught = slice(0, pictures.taught)
    model = learn(images[taught], labels[taught], pictures.epochs)

    def answer(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with torch.inference_mode():
            embedded = [model.features(part) for part in torch.from_numpy(batch).split(256)]
            logits = [model.head(part) for part in embedded]
        return batch, torch.cat(embedded).numpy(), torch.cat(logits).numpy().astype(float)

    compared, ours = scores(model, images[taught], answer(images[taught])[1], labels[taught])
    held_out = answer(images[pictures.taught :])
    truth = labels[pictures.taught :]
    accuracy = (held_out[2].argmax(axis=1) == truth).mean()
    others = {key: answer(np.stack([transform.decode(data) for data in some])) for key, some in foreign.items()}
    print(f"\n{name}: {pictures.taught} training images, accuracy {accuracy:.3f}; refused, and area under ROC")
    print(f"{'':14}{'own':>7}" + "".join(f"{key:>16}" for key in others))
    halves = [np.random.default_rng(seed).permutation(len(truth)) for seed in range(splits)]
    middle = len(truth) // 2
    own = {title: score(*held_out) for title, score in compared.items()}
    foreign_scores = {title: {key: score(*given) for key, given in others.items()} for title, score in compared.items()}
    for title in compared:
        known, strange = own[title], foreign_scores[title]
        alarms, found = [], {key: [] for key in strange}
        for half in halves:
            threshold = conformal.quantile(known[half[:middle]], RATE)
            alarms.append((known[half[middle:]] > threshold).mean())
            for key, values in strange.items():
                found[key].append((values > threshold).mean())
        cells = [f"{np.mean(found[key]):.3f} ({auroc(known, values):.3f})" for key, values in strange.items()]
        print(f"{title:14}{np.mean(alarms):>7.3f}" + "".join(f"{cell:>16}" for cell in cells))
    for second in ("10-NN", "ViM", "softmax"):
        alarms, found = [], {key: [] for key in others}
        for half in halves:
            both = {title: conformal.quantile(own[title][half[:middle]], RATE / 2) for title in ("with pixels", second)}
            refused = np.any([own[title][half[middle:]] > at for title, at in both.items()], axis=0)
            alarms.append(refused.mean())
            for key in others:
                found[key].append(
                    np.any([foreign_scores[title][key] > at for title, at in both.items()], axis=0).mean()
                )
        cells = [f"{np.mean(found[key]):.3f}" for key in others]
        print(f"{f'pixels, {second}':14}{np.mean(alarms):>7.3f}" + "".join(f"{cell:>16}" for cell in cells))
    nearest = ours.nearest(*held_out[:2])
    strange = {key: ours.nearest(*given[:2]) for key, given in others.items()}
    alarms, found = [], {key: [] for key in others}
    ratios = np.zeros((len(halves), len(truth)))
    for row, half in enumerate(halves):
        setting = half[:middle]
        at = conformal.novelty_thresholds(nearest[0][setting], nearest[1][setting], len(ours.means), RATE).of_class
        ratios[row] = nearest[0] / at[nearest[1]]
        alarms.append((ratios[row, half[middle:]] > 1).mean())
        for key, (distances, rows) in strange.items():
            found[key].append((distances / at[rows] > 1).mean())
    cells = [f"{np.mean(found[key]):.3f}" for key in others]
    print(f"{'as shipped':14}{np.mean(alarms):>7.3f}" + "".join(f"{cell:>16}" for cell in cells))
    pooled = np.stack([own["with pixels"] / conformal.quantile(own["with pixels"][h[:middle]], RATE) for h in halves])
    print("one threshold for all classes:")
    promised(pooled, truth, halves, middle)
    print("as shipped, a threshold for each class:")
    promised(ratios, truth, halves, middle)
    weights = np.exp(held_out[2] - held_out[2].max(axis=1, keepdims=True))
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    for name, option in CONFORMITY_SCORES.items():
        measure_sets(name, option().scores(probabilities).astype(float), probabilities, truth, halves)


def measure_sets(
    name: str, scores: np.ndarray, probabilities: np.ndarray, truth: np.ndarray, halves: list[np.ndarray]
) -> None:
    """Prints the coverage and size of sets by a conformity score, also for the least certain tenth of the images.

    Args:
        name: The score's name.
        scores: [n, K] scores of the held-out images.
        probabilities: [n, K] class probabilities of these images.
        truth: [n] true class indices.
        halves: The order of the images in each split; the first half is the validation images.
    """
    classes, middle = range(scores.shape[1]), len(truth) // 2
    covered, sizes, hard = np.zeros((len(halves), len(classes), 2)), [], []
    for row, half in enumerate(halves):
        validation, test = half[:middle], half[middle:]
        of_true = scores[validation, truth[validation]]
        thresholds = conformal.class_thresholds(truth[validation], of_true, len(classes), COVERAGE)
        chosen = scores[test] >= thresholds - 1e-9  # without the likeliest class, which `predict` adds
        sets = conformal.prediction_sets(scores[test], thresholds)
        sizes.append(sets.sum(axis=1).mean())
        confidence = probabilities[test].max(axis=1)
        doubtful = np.flatnonzero(confidence <= np.quantile(confidence, 0.1))
        hard.append((sets[doubtful, truth[test][doubtful]].mean(), sets[doubtful].sum(axis=1).mean()))
        for label in classes:
            here = truth[test] == label
            covered[row, label] = chosen[here, label].sum(), here.sum()
    share = covered[..., 0].sum(axis=0) / covered[..., 1].sum(axis=0)
    inside = [
        covered[row, label, 0] >= least_covered(int((truth[half[:middle]] == label).sum()), int(covered[row, label, 1]))
        for row, half in enumerate(halves)
        for label in classes
    ]
    held, size = np.mean(hard, axis=0)
    print(f"{name}: sets of a class in a split with the truth as often as promised: {sum(inside)} of {len(inside)}; "
          f"coverage {covered[..., 0].sum() / covered[..., 1].sum():.4f}, of the classes {share.min():.4f} to "
          f"{share.max():.4f}; {np.mean(sizes):.3f} classes in a set; "
          f"of the tenth that is least certain {held:.3f}, with {size:.2f} classes")  # fmt: skip


def promised(ratios: np.ndarray, truth: np.ndarray, halves: list[np.ndarray], middle: int) -> None:
    """Prints how many splits, and classes of a split, keep the guaranteed false alarm rate, and each class's rate.

    Args:
        ratios: [splits, n] novelty of the held-out images relative to the threshold; above 1, an image is refused.
        truth: [n] true class indices.
        halves: The order of the images in each split; the validation images come first.
        middle: Number of validation images.
    """
    alarms = np.array([(row[half[middle:]] > 1).sum() for row, half in zip(ratios, halves, strict=True)])
    count, most = len(truth) - middle, most_alarms(middle, len(truth) - middle)
    print(f"  splits with as few false alarms as promised: {(alarms <= most).sum()} of {len(halves)} "
          f"({alarms.min()} to {alarms.max()} of {count}, {most:.0f} allowed)")  # fmt: skip
    refused, tested, inside = np.zeros(truth.max() + 1), np.zeros(truth.max() + 1), 0
    for row, half in zip(ratios, halves, strict=True):
        for label in range(len(tested)):
            here = half[middle:][truth[half[middle:]] == label]
            alarmed = (row[here] > 1).sum()
            inside += alarmed <= most_alarms(int((truth[half[:middle]] == label).sum()), len(here))
            refused[label] += alarmed
            tested[label] += len(here)
    print(f"  classes in a split with as few: {inside} of {len(halves) * len(tested)}; by class: "
          + ", ".join(f"{share:.3f}" for share in refused / tested))  # fmt: skip


def most_alarms(validation: int, count: int) -> float:
    """Returns the 95 % quantile of the number of false alarms among `count` test images."""
    rank = int(np.ceil(round((validation + 1) * (1 - RATE), 9)))
    return float(count) if rank > validation else float(betabinom(count, validation + 1 - rank, rank).ppf(0.95))


def least_covered(validation: int, count: int) -> float:
    """Returns the 5 % quantile of the number of prediction sets that contain the true class, among `count` images."""
    rank = int(np.ceil(round((validation + 1) * COVERAGE, 9)))
    return 0.0 if rank > validation else float(betabinom(count, rank, validation + 1 - rank).ppf(0.05))


def main() -> None:
    """Measures the chosen datasets, by default all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--sets", nargs="*", help="from digits, MNIST, Fashion, hands; default: all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    whole, _ = digits()
    part, unknown = digits(8)
    known = {"digits": whole, "MNIST": idx("mnist"), "Fashion": idx("fashion-mnist"), "hands": hands()}
    images = {name: pictures.data[:: max(1, len(pictures.data) // FOREIGN)] for name, pictures in known.items()}
    images["noise"] = noise()
    for name, pictures in known.items():
        if arguments.sets and name not in arguments.sets:
            continue
        others = {key: some for key, some in images.items() if key != name}
        measure_set(name, pictures, others, arguments.splits)
    measure_set("digits 0 to 7", part, {"8 and 9": unknown}, arguments.splits)


if __name__ == "__main__":
    main()
