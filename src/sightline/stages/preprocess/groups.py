"""Groups of images that stay in one split: identical bytes, one `group` of the source, or near duplicates."""

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
    """Groups of images that stay together.

    Attributes:
        codes: [n] int64, each image's group, 0 to number of groups - 1.
        digests: SHA-256 of each image's bytes, 64 hexadecimal digits each.
        first: [groups] int64, position of an image of each group, whose digest is the group's key.
        names: By group, the keys of the groups whose key is not a digest.
        balanced: The groups to balance over the splits, in order of their first image's id: those in `names`, or all.
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
        """Returns the numbers of groups, of images in the largest, and of equally large groups that split as evenly."""
        counts = np.bincount(self.codes)
        effective = int(counts.sum()) ** 2 / max(1, int(np.square(counts).sum()))
        return {
            "groups": len(self),
            "largest_group": int(counts.max(initial=0)),
            "effective_groups": round(effective),
        }

    def keys(self) -> Iterator[bytes]:
        """Yields the key of each group, from which its split is drawn.

        The key comes from the image with the smallest id: its source group, or else the digest of its bytes.
        """
        # Part by part: as Python objects, the digests of all images would take most of the stage's memory.
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
    """Groups images that have the same bytes, source group or near-duplicate group, directly or through others.

    Python time and memory grow only with the number of images that have such a link.

    Args:
        ids: [n] ids of all images; may be empty if there are no links below and `balance_all` is False.
        digests: SHA-256 of each image's bytes, 64 hexadecimal digits each.
        source_groups: By position, the source's group, for the images that have one.
        near: By id, the near-duplicate group, for one image of each content that has near duplicates.
        places: By id, the position of at least the images in `near`; ids without a position are ignored.
        balance_all: Whether to balance all groups, including single images, and not only the source's groups.
    """
    firsts, contents = _contents(digests)
    # The prefixes distinguish a source group from a near-duplicate group of the same name.
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
    """Numbers the distinct contents of images in order of first appearance.

    Args:
        digests: [n] digests of 64 hexadecimal digits each.

    Returns:
        [contents] position of each content's first image, and [n] the number of each image's content.
    """
    # Integers sort far faster than strings; full digests are compared below for the few that share 8 digits.
    heads = np.frombuffer(digests, "<u8")[::8]
    order = np.argsort(heads, kind="stable")
    alike = np.flatnonzero(np.diff(heads[order]) == 0)
    first_with = np.arange(len(heads))
    seen: dict[bytes, int] = {}
    for position in sorted({*order[alike].tolist(), *order[alike + 1].tolist()}):
        first_with[position] = seen.setdefault(bytes(digests[64 * position : 64 * position + 64]), position)
    is_first = first_with == np.arange(len(heads))
    return np.flatnonzero(is_first), (np.cumsum(is_first) - 1)[first_with]
