"""Connected components: groups of nodes that links connect, directly or indirectly."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


def connected_groups(links: Iterable[tuple[K, K]]) -> list[list[K]]:
    """Returns the groups that links connect; groups and their members are in order of first appearance.

    A union-find with path halving: time and memory are spent only on nodes with a link. SciPy's `connected_components`
    needs all nodes numbered, and takes a tenth of a second to import.

    >>> connected_groups([(1, 5), (2, 3), (5, 7)])
    [[1, 5, 7], [2, 3]]
    """
    parent: dict[K, K] = {}

    def root(node: K) -> K:
        parent.setdefault(node, node)
        while (above := parent[node]) != node:
            parent[node] = node = parent[above]
        return node

    for left, right in links:
        parent[root(right)] = root(left)
    groups: dict[K, list[K]] = {}
    for node in list(parent):
        groups.setdefault(root(node), []).append(node)
    return list(groups.values())
