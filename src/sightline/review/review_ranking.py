"""Rankings of images for review: doubtful labels, unusual images, and informative images without a label."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NEIGHBOURS = 20
"""Number of nearest neighbours that vote on an image's label."""

ROUND = 100
"""Images without a label that are chosen together, assuming that the model is retrained after so many labels."""
CANDIDATES = 10
"""Number of the most uncertain images to choose from, as a multiple of `ROUND`."""

_REFERENCE = 20_000  # maximum number of reference images; of a larger set, an evenly spaced sample
_BLOCK = 1024

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def nearest(queries: Floats, reference: Floats, count: int) -> tuple[Labels, Floats]:
    """Returns the nearest reference embeddings by cosine similarity, nearest first.

    Args:
        queries: [n, D] embeddings of length 1.
        reference: [m, D] embeddings of length 1, m >= 1.
        count: Number of neighbours, at most m are returned.

    Returns:
        Rows of the reference, [n, count] int64, and cosines, [n, count].
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
    """Returns the labels of each image's nearest neighbours, without its own label, and their distance.

    A network memorises some wrong labels of its training images, but the neighbours' labels still reveal them.

    Args:
        labels: [n] class indices.
        embeddings: [n, D] of length 1.
        num_classes: K.

    Returns:
        Smoothed class frequencies among the nearest images, [n, K], all above 0; and 1 minus the cosine of the 10th
        nearest, [n].
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
    """Returns 1 minus the margin between the two most probable classes, [n] in 0..1."""
    if probabilities.shape[1] < 2:
        return 1 - probabilities[:, 0]
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    lead: Floats = 1 - (two[:, 1] - two[:, 0])
    return lead


def informative(probabilities: Floats, embeddings: Floats, count: int, seed: int = 0) -> list[int]:
    """Ranks unlabelled images by how informative their labels would be: uncertain, and different from each other.

    Zhdanov (2019), "Diverse mini-batch active learning": the `CANDIDATES * ROUND` most uncertain images are clustered
    by k-means, weighted by uncertainty, and the image nearest to the centre of each cluster is chosen. This is repeated
    for each `ROUND` of images, after which the model is assumed to be retrained.

    Args:
        probabilities: [n, K].
        embeddings: [n, D] of length 1.
        count: Number of images ranked in this way; the others follow in order of uncertainty.
        seed: Seed of k-means.

    Returns:
        All rows 0..n-1, the most informative first.
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
    """Returns the row of the image nearest to the centre of each of `count` clusters; fewer if some are empty."""
    from sklearn.cluster import KMeans

    if len(embeddings) <= count:
        return np.arange(len(embeddings))
    groups = KMeans(count, n_init=1, max_iter=30, random_state=seed)
    distances = groups.fit_transform(embeddings, sample_weight=np.maximum(weights, 1e-6))
    members = groups.labels_[:, None] == np.arange(count)
    nearest_each = np.where(members, distances, np.inf).argmin(axis=0)
    return np.unique(nearest_each[members.any(axis=0)])
