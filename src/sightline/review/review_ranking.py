"""Rankings of images by what a person's look at them is worth: doubtful labels, strange images, informative ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 20
"""Of an image, that vote on its label."""

_REFERENCE = 20_000  # images that are compared with, at most: beyond, an even sample of them
_BLOCK = 1024

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def nearest(queries: Floats, reference: Floats, count: int) -> tuple[Labels, Floats]:
    """Returns the nearest of a reference by cosine, nearest first.

    Args:
        queries: [n, D] embeddings of length 1.
        reference: [m, D] likewise, m >= 1.
        count: Number of images; fewer where the reference has fewer.

    Returns:
        Places in the reference, [n, count] int64, and cosines, [n, count].
    """
    count = min(count, len(reference))
    places, cosines = [], []
    for start in range(0, len(queries), _BLOCK):
        near = queries[start : start + _BLOCK] @ reference.T
        chosen = np.argpartition(-near, count - 1, axis=1)[:, :count] if count < len(reference) else None
        chosen = np.argsort(-near, axis=1, kind="stable") if chosen is None else chosen
        values = np.take_along_axis(near, chosen, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        places.append(np.take_along_axis(chosen, order, axis=1))
        cosines.append(np.take_along_axis(values, order, axis=1))
    return np.concatenate(places).astype(np.int64), np.concatenate(cosines)


def neighbourhood(labels: Labels, embeddings: Floats, num_classes: int) -> tuple[Floats, Floats]:
    """Returns how the images around each are labelled, its own label left aside, and how far away they are.

    A network learns some wrong labels of its training images by heart; their neighbours it does not know.

    Args:
        labels: [n] class indices.
        embeddings: [n, D] of length 1.
        num_classes: K.

    Returns:
        Shares of the classes among the nearest images, [n, K], none 0; and one less the cosine of the 10th nearest,
        [n].
    """
    step = -(-len(labels) // _REFERENCE)
    reference = np.arange(0, len(labels), step)
    places, cosines = nearest(embeddings, embeddings[reference], NEIGHBOURS + 1)
    others = reference[places] != np.arange(len(labels))[:, None]
    others &= np.cumsum(others, axis=1) <= NEIGHBOURS
    counts = np.zeros((len(labels), num_classes), np.float32)
    rows = np.repeat(np.arange(len(labels)), others.sum(axis=1))
    np.add.at(counts, (rows, labels[reference[places]][others]), 1)
    counts += 1 / num_classes
    tenth = np.minimum(9 + ~others[:, :10].all(axis=1), cosines.shape[1] - 1)
    return counts / counts.sum(axis=1, keepdims=True), 1 - np.take_along_axis(cosines, tenth[:, None], axis=1)[:, 0]


def uncertainty(probabilities: Floats) -> Floats:
    """Returns one less the lead of the likeliest class over the next, [n] in 0..1."""
    if probabilities.shape[1] < 2:
        return 1 - probabilities[:, 0]
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    lead: Floats = 1 - (two[:, 1] - two[:, 0])
    return lead


def informative(probabilities: Floats, embeddings: Floats, count: int, seed: int = 0) -> list[int]:
    """Ranks unlabelled images by what their labels would teach: uncertain ones, each unlike those before.

    BADGE (Ash et al. 2020, "Deep batch active learning by diverse, uncertain gradient lower bounds"): k-means++ draws
    images in the space of the gradients that their likeliest labels would give the last layer. A gradient is long where
    the model is uncertain, and two are far apart where the images, or the doubts about them, are of different kinds.

    Args:
        probabilities: [n, K].
        embeddings: [n, D] of length 1.
        count: Number of images ranked in this way; the others follow by uncertainty alone.
        seed: Of the draws.

    Returns:
        All places 0..n-1, the most informative first.
    """
    n = len(probabilities)
    residuals = probabilities.astype(np.float64)
    residuals[np.arange(n), probabilities.argmax(axis=1)] -= 1
    # A gradient is the outer product of residual and embedding: of two, the inner product is that of the factors'.
    lengths = (residuals**2).sum(axis=1)
    distance = lengths.copy()
    random = np.random.default_rng(seed)
    chosen: list[int] = []
    for _ in range(min(count, n)):
        total = distance.sum()
        if not total > 0:
            break
        drawn = int(random.choice(n, p=distance / total)) if chosen else int(np.argmax(lengths))
        chosen.append(drawn)
        inner = (residuals @ residuals[drawn]) * (embeddings @ embeddings[drawn])
        distance = np.minimum(distance, np.maximum(lengths + lengths[drawn] - 2 * inner, 0))
        distance[chosen] = 0
    rest = np.setdiff1d(np.arange(n), chosen)
    return [*chosen, *rest[np.argsort(-uncertainty(probabilities)[rest], kind="stable")].tolist()]
