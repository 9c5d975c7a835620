"""Which images belong together, and so in one split: the same bytes, one `group` of the source, near duplicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Groups:
    """The images that stay together.

    Attributes:
        codes: [n] each image's group, 0 to number of groups - 1.
        keys: Of each group, what the draw of its split depends on: of the image with the smallest id, the source's
            group, else the digest of the bytes.
    """

    codes: Codes
    keys: list[str]

    @property
    def together(self) -> int:
        """How many groups have more than one image."""
        return int(np.count_nonzero(np.bincount(self.codes) > 1))


def group_images(
    ids: Sequence[str],
    contents: Codes,
    digests: Sequence[str],
    source_groups: Mapping[int, str],
    near: Mapping[str, str],
    places: Mapping[str, int],
) -> Groups:
    """Groups images with the same bytes, group of the source or near-duplicate group, and what these links connect.

    Time and memory in Python go to the images that have such a link, not to all.

    Args:
        ids: [n] of all images.
        contents: [n] which of `digests` each image's bytes have.
        digests: SHA-256, each once.
        source_groups: By position, the source's group, of the images for which it has one.
        near: By id, the near-duplicate group of one image of each content that has near duplicates.
        places: By id, the position of at least the images named in `near`; an id without one is ignored.
    """
    # The letters keep a source's group apart from a near-duplicate group of the same name.
    links = [(position, f"g{name}") for position, name in source_groups.items()]
    links += [(places[identity], f"n{name}") for identity, name in near.items() if identity in places]
    if not links:
        return Groups(contents, list(digests))
    parent: dict[int | str, int | str] = {}

    def root(of: int | str) -> int | str:
        while (above := parent.get(of, of)) != of:
            parent[of] = of = parent.get(above, above)
        return of

    for position, name in links:
        parent.setdefault(int(contents[position]), int(contents[position]))
        parent[root(name)] = root(int(contents[position]))
    linked = {content: root(content) for content in parent if isinstance(content, int)}
    merged = np.arange(len(digests))
    for content, top in linked.items():
        merged[content] = top
    kept, codes = np.unique(merged[contents], return_inverse=True)
    keys = [digests[content] for content in kept.tolist()]
    first: dict[int, int] = {}
    affected = np.flatnonzero(np.isin(contents, np.fromiter(linked, np.int64)))
    for position in affected.tolist():
        code = int(codes[position])
        if code not in first or ids[position] < ids[first[code]]:
            first[code] = position
    for code, position in first.items():
        keys[code] = source_groups.get(position) or digests[int(contents[position])]
    return Groups(codes.astype(np.int64), keys)
