"""Groups of images that stay in one split: the same bytes, one `group` of the source, near duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sightline.core.connected import connected_groups

Codes = npt.NDArray[np.int64]
Buffer = bytes | memoryview

_PART = 4096


@dataclass(frozen=True)
class Groups:
    """The images that stay together.

    Attributes:
        codes: [n] each image's group, 0 to number of groups - 1.
        digests: SHA-256 of each image's bytes, 64 hexadecimal digits each.
        first: [groups] position of an image of each group, whose digest is the group's key.
        names: By group, the key of those that have another one.
        balanced: Those that are placed with a look at each other, in order of their first image's id: those of `names`,
            or all.
    """

    codes: Codes
    digests: Buffer
    first: Codes
    names: Mapping[int, bytes] = field(default_factory=dict)
    balanced: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.first)

    @property
    def together(self) -> int:
        """The number of groups with more than one image."""
        return int(np.count_nonzero(np.bincount(self.codes) > 1))

    def sizes(self) -> dict[str, int]:
        """Returns how many groups there are, the images of the largest, and how many equal ones draw as evenly."""
        counts = np.bincount(self.codes)
        effective = int(counts.sum()) ** 2 / max(1, int(np.square(counts).sum()))
        return {
            "groups": len(self),
            "largest_group": int(counts.max(initial=0)),
            "effective_groups": round(effective),
        }

    def keys(self) -> Iterator[bytes]:
        """Yields of each group what the draw of its split depends on.

        That is of the image with the smallest id, the source's group, else the digest of the bytes.
        """
        # Part by part: as Python's objects, those of all images would be most of what the stage holds in memory.
        digests = np.frombuffer(self.digests, "S64")
        for begin in range(0, len(self), _PART):
            part: list[bytes] = digests[self.first[begin : begin + _PART]].tolist()
            for group in self.names.keys() & set(range(begin, begin + len(part))) if self.names else ():
                part[group - begin] = self.names[group]
            yield from part


def group_images(
    ids: Sequence[str],
    digests: Buffer,
    source_groups: Mapping[int, str],
    near: Mapping[str, str],
    places: Mapping[str, int],
    balance_all: bool = False,
) -> Groups:
    """Groups images with the same bytes, group of the source or near-duplicate group, and what these links connect.

    Time and memory in Python go to the images that have such a link, not to all.

    Args:
        ids: [n] of all images; of none where nothing below links any, and not all are balanced.
        digests: SHA-256 of each image's bytes, 64 hexadecimal digits each.
        source_groups: By position, the source's group, of the images for which it has one.
        near: By id, the near-duplicate group of one image of each content that has near duplicates.
        places: By id, the position of at least the images named in `near`; an id without one is ignored.
        balance_all: Whether all groups are balanced, single images too, and not the source's alone.
    """
    firsts, contents = _contents(digests)
    # The letters keep a source's group apart from a near-duplicate group of the same name.
    links = [(position, f"g{name}") for position, name in source_groups.items()]
    links += [(places[identity], f"n{name}") for identity, name in near.items() if identity in places]
    if not links and not balance_all:
        return Groups(contents, digests, firsts)
    merged = np.arange(len(firsts))
    linked: list[int] = []
    for group in connected_groups((int(contents[position]), name) for position, name in links):
        members = [member for member in group if isinstance(member, int)]
        merged[members] = members[0]
        linked += members
    kept, codes = np.unique(merged[contents], return_inverse=True)
    first: dict[int, int] = {}
    affected = np.arange(len(contents)) if balance_all else np.flatnonzero(np.isin(contents, np.array(linked)))
    for position in affected.tolist():
        code = int(codes[position])
        if code not in first or ids[position] < ids[first[code]]:
            first[code] = position
    firsts = firsts[kept]
    firsts[list(first)] = list(first.values())
    names = {code: source_groups[position].encode() for code, position in first.items() if source_groups.get(position)}
    balanced = sorted(first if balance_all else names, key=lambda code: ids[first[code]])
    return Groups(codes.astype(np.int64), digests, firsts, names, balanced)


def _contents(digests: Buffer) -> tuple[Codes, Codes]:
    """Numbers the contents of images in order of their first appearance.

    Args:
        digests: [n] 64 hexadecimal digits each.

    Returns:
        [contents] position of each content's first image, and [n] which content each image has.
    """
    # Numbers sort far faster than texts; the whole digests of the few with the same 8 digits are compared below.
    heads = np.frombuffer(digests, "<u8")[::8]
    order = np.argsort(heads, kind="stable")
    alike = np.flatnonzero(np.diff(heads[order]) == 0)
    first_with = np.arange(len(heads))
    seen: dict[bytes, int] = {}
    for position in sorted({*order[alike].tolist(), *order[alike + 1].tolist()}):
        first_with[position] = seen.setdefault(bytes(digests[64 * position : 64 * position + 64]), position)
    is_first = first_with == np.arange(len(heads))
    return np.flatnonzero(is_first), (np.cumsum(is_first) - 1)[first_with]
