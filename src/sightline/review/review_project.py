"""A project under review, built from the folders that the stages wrote."""

from __future__ import annotations

import getpass
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sightline.config import compose
from sightline.core import files, git
from sightline.core.errors import UserError
from sightline.core.progress import track
from sightline.core.project import located
from sightline.core.rejection import RejectionError
from sightline.core.text import readable
from sightline.datasets.corrections import CorrectionFile
from sightline.imaging.image_file import Limits
from sightline.review import refused_inputs
from sightline.review.desk import ReviewDesk
from sightline.review.judgements import KEPT, Judge, Judgements
from sightline.review.picture_store import PictureStore
from sightline.review.review_queue import ReviewItem, build_queue, unlabelled_queue
from sightline.sources import open_source, tree
from sightline.stages.ingest.config import IngestConfig

RAW = Path("data/raw")


@dataclass(frozen=True)
class ReviewProject:
    """A project under review.

    Attributes:
        desk: The queue and its decisions.
        judged: The model's judgements of the images of the set, then of the other images.
        pictures: The encoded images.
        inside: Number of judgements of images of the set.
        judge: The model and its preprocessing.
        ids: Ids of all copies of each picture by digest, in the set and among the rejected inputs.
    """

    desk: ReviewDesk
    judged: Judgements
    pictures: PictureStore
    inside: int
    judge: Judge
    ids: Mapping[str, list[str]] = field(default_factory=dict)


def open_project(images: Path | None = None, who: str | None = None) -> ReviewProject:
    """Opens the project in the current folder.

    Args:
        images: A folder of pictures without labels, which then make up the queue.
        who: The reviewer's name; None for git's `user.name`, or else the login name.

    Raises:
        UserError: If this is not a project, nothing has been trained yet, or the folder contains no new pictures.
    """
    config = _ingest_config()
    if config.corrections is None:
        raise UserError("ingest.corrections is null: name a file for decisions, such as data/corrections.csv")
    judge = Judge(Path())
    inside = judge.of_set()
    corrections = CorrectionFile(located(config.corrections))
    if images is not None:
        return _unlabelled(images, config, judge, inside, corrections, who)
    refused, places = refused_inputs.fetch_refused(
        refused_inputs.worth_a_look(RAW), open_source(config), Path(KEPT) / "refused"
    )
    readable_ones = {each.sha256: places[each.sha256].read_bytes() for each in refused}
    added = judge.of_pictures(track(readable_ones.items(), "judging rejected inputs"))
    place = {sha256: len(inside) + at for at, sha256 in enumerate(added.sha256)}
    judged = _joined(inside, added)
    decided = corrections.current()
    items = build_queue(judged, RAW, [(each, place.get(each.sha256)) for each in refused], len(inside), decided)
    desk = ReviewDesk(items, judged.classes, corrections, who or reviewer())
    ids: dict[str, list[str]] = defaultdict(list)
    for sha256, identity in [
        *zip(inside.sha256, inside.ids, strict=True),
        *((each.sha256, each.id) for each in refused),
    ]:
        ids[sha256].append(identity)
    return ReviewProject(desk, judged, PictureStore(RAW, places), len(inside), judge, ids)


def reviewer() -> str:
    """Returns git's `user.name`, or else the login name, or else "unknown"."""
    try:
        return git.answer("config", "user.name") or getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _ingest_config() -> IngestConfig:
    composed = compose.compose(compose.saved_overrides(compose.read_params()))
    return compose.typed(IngestConfig, composed.ingest, "ingest")


def _unlabelled(
    folder: Path, config: IngestConfig, judge: Judge, inside: Judgements, corrections: CorrectionFile, who: str | None
) -> ReviewProject:
    if config.additions is None:
        raise UserError("ingest.additions is null: name the folder for labelled images, such as data/labelled")
    if not folder.is_dir():
        raise UserError(f"--images {folder}: no such folder; name one that contains images")
    places: dict[str, Path] = {}
    known = set(inside.sha256)

    def pictures() -> Iterator[tuple[str, bytes]]:
        for entry in track(tree.walk(folder), "judging", unit="files"):
            if entry.fault:
                continue
            try:
                data = tree.read_file(f"{folder}/{entry.path}", Limits().max_bytes)
            except RejectionError:
                continue
            sha256 = files.sha256(data)
            if sha256 not in known and sha256 not in places:
                places[sha256] = folder / entry.path
                yield readable(entry.path), data

    added = judge.of_pictures(pictures())
    if not added.ids:
        raise UserError(
            f"--images {folder}: it contains no images that are not already in the dataset; name another folder"
        )
    judged = _joined(inside, added)
    items: list[ReviewItem] = unlabelled_queue(judged, len(inside))
    desk = ReviewDesk(items, judged.classes, corrections, who or reviewer(), located(config.additions), places)
    return ReviewProject(desk, judged, PictureStore(RAW, places), len(inside), judge)


def _joined(first: Judgements, second: Judgements) -> Judgements:
    if not second.ids:
        return first
    return Judgements(
        first.classes,
        first.ids + second.ids,
        first.sha256 + second.sha256,
        first.splits + second.splits,
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.probabilities, second.probabilities]),
        np.concatenate([first.embeddings, second.embeddings]),
        first.plain,
        first.novelty,
    )
