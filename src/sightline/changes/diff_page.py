"""A project's difference as a page: the tables of the text, and galleries of the images that differ."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.changes import diff_text
from sightline.changes.project_diff import ProjectDiff
from sightline.changes.revision import Revision
from sightline.core.rejection import RejectionError
from sightline.imaging import decode
from sightline.reporting.plots.overlay import PIXELATED_MAX_SIDE, encode_picture
from sightline.reporting.render import render

TEMPLATE = "diff.html.j2"
MOST_SHOWN = 24
"""Maximum number of images per gallery."""
_SHARDS = "data/raw"


@dataclass(frozen=True)
class Thumbnail:
    """An image on the page: PNG or JPEG or None if unavailable, whether to show its pixels as squares, id, caption."""

    image: bytes | None
    pixelated: bool
    id: str
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Images that differ in one way: the heading, their number, and the first of them."""

    title: str
    count: int
    thumbnails: Sequence[Thumbnail]


def render_page(diff: ProjectDiff) -> str:
    """Returns the page, one self-contained HTML file."""
    return render(
        Path(__file__).parent,
        TEMPLATE,
        heading=diff_text.heading(diff),
        sections=list(diff_text.sections(diff)),
        texts=diff_text.TEXTS,
        galleries=list(_galleries(diff)),
    )


def _galleries(diff: ProjectDiff) -> Iterator[Gallery]:
    data, answers = diff.data, diff.answers
    if answers is not None and data is not None:
        for title, ids in (
            ("Right before, wrong now", answers.to_wrong),
            ("Wrong before, right now", answers.to_right),
        ):
            yield _gallery(title, diff.after, ids, lambda id_: data.after.images[id_].label)
    if data is None:
        return
    old, new = data.before.images, data.after.images
    names = {b: a for a, b in data.renamed}
    yield _gallery("Added", diff.after, data.added, lambda id_: f"{new[id_].label}, {new[id_].split}")
    yield _gallery("Removed", diff.before, data.removed, lambda id_: f"{old[id_].label}, {old[id_].split}")
    yield _gallery(
        "Relabelled", diff.after, data.relabelled, lambda id_: f"{old[names.get(id_, id_)].label} -> {new[id_].label}"
    )
    yield _gallery("Changed content under the same name", diff.after, data.replaced, lambda id_: new[id_].label)
    yield _gallery(
        "Moved to another split",
        diff.after,
        data.moved,
        lambda id_: f"{old[names.get(id_, id_)].split} -> {new[id_].split}",
    )
    yield _gallery("Added, with a near duplicate in the dataset", diff.after, data.near, lambda id_: new[id_].label)
    refused = [Thumbnail(None, False, id_, data.after.rejected[id_]) for id_ in data.refused[:MOST_SHOWN]]
    yield Gallery("Newly rejected", len(data.refused), refused)


def _gallery(title: str, revision: Revision, ids: Sequence[str], caption: Callable[[str], str]) -> Gallery:
    some = ids[:MOST_SHOWN]
    images = dict(_raw_images(revision, some))
    return Gallery(title, len(ids), [_thumbnail(images.get(id_), id_, caption(id_)) for id_ in some])


def _thumbnail(data: bytes | None, id_: str, caption: str) -> Thumbnail:
    try:
        pixels = decode.decode(data) if data is not None else None
    except RejectionError:
        pixels = None
    if pixels is None:
        return Thumbnail(None, False, id_, caption)
    return Thumbnail(encode_picture(pixels), max(pixels.shape[:2]) <= PIXELATED_MAX_SIDE, id_, caption)


def _raw_images(revision: Revision, ids: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yields (id, encoded file) of raw images; reads only row groups that contain one."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = set(ids)
    for path in revision.names(_SHARDS, ".parquet") if wanted else ():
        if not Path(path).name.startswith("shard-") or not wanted:
            continue
        content = revision.open(path)
        if content is None:
            continue
        with content, pq.ParquetFile(content) as file:
            for group in range(file.num_row_groups):
                here = wanted.intersection(file.read_row_group(group, ["id"])["id"].to_pylist())
                if here:
                    table = file.read_row_group(group, ["id", "image"])
                    for row in table.filter(pc.field("id").isin(list(here))).to_pylist():
                        yield row["id"], row["image"]["bytes"]
                    wanted -= here
