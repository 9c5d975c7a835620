"""Rankings of images by what a person's look at them is worth: doubtful labels, strange images, informative ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 20
"""Of an image, that vote on its label."""

ROUND = 100
"""Images without a label that are chosen together: so many are labelled before the model learns from them."""
CANDIDATES = 10
"""Times as many of the most uncertain, of which these are chosen."""

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

    Zhdanov (2019), "Diverse mini-batch active learning": of the most uncertain, ten for each that is wanted, k-means
    makes as many groups, an image weighing as much as it is uncertain, and the one in the middle of each is taken. That
    is done anew for each `ROUND` of images, for those are what a person labels before the model learns from them.

    Args:
        probabilities: [n, K].
        embeddings: [n, D] of length 1.
        count: Number of images ranked in this way; the others follow by uncertainty alone.
        seed: Of the groups' beginnings.

    Returns:
        All places 0..n-1, the most informative first.
    """
    doubt = uncertainty(probabilities)
    rest = np.argsort(-doubt, kind="stable")
    chosen: list[int] = []
    while len(chosen) < min(count, len(doubt)):
        candidates = rest[: CANDIDATES * ROUND]
        middle = _middles(embeddings[candidates], doubt[candidates], min(ROUND, count - len(chosen)), seed)
        chosen += candidates[middle].tolist()
        rest = rest[~np.isin(rest, candidates[middle])]
    return [*chosen, *rest.tolist()]


def _middles(embeddings: Floats, weights: Floats, count: int, seed: int) -> Labels:
    """Returns the place of the image in the middle of each of so many groups; fewer where some are empty."""
    from sklearn.cluster import KMeans

    if len(embeddings) <= count:
        return np.arange(len(embeddings))
    groups = KMeans(count, n_init=1, max_iter=30, random_state=seed)
    distances = groups.fit_transform(embeddings, sample_weight=np.maximum(weights, 1e-6))
    members = groups.labels_[:, None] == np.arange(count)
    nearest_each = np.where(members, distances, np.inf).argmin(axis=0)
    return np.unique(nearest_each[members.any(axis=0)])
