"""Pictures of none of the classes become two halves, prepared as the images are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet
from sightline.stages.preprocess.stage import preprocess
from sightline.stages.preprocess.unknown_halves import preprocess_unknown
from tests.stages.preprocess.sets import Picture, configuration, pictures, write_set


def halves(root: Path, near: dict[str, str] | None = None, *extra: Picture, count: int = 31) -> dict[str, str]:
    raw, out = write_set(root / "raw", [*pictures(count), *extra], near), root / "unknown"
    out.mkdir()
    assert preprocess_unknown(raw, configuration(), out) is not None
    return dict(ProcessedSet(out).index.select(["id", "split"]).to_pandas().itertuples(index=False))


def test_one_half_sets_and_one_judges_and_a_picture_more_moves_one_at_most(tmp_path: Path) -> None:
    before, after = halves(tmp_path / "a"), halves(tmp_path / "b", count=32)
    assert sorted(before.values()) == ["test"] * 15 + ["val"] * 16
    assert sum(after[name] != split for name, split in before.items()) <= 1


def test_copies_and_near_duplicates_stay_together(tmp_path: Path) -> None:
    near = {f"i{number:05}": "i00000" for number in (0, 1, 2, 3)}
    found = halves(tmp_path, near, Picture("twin", 0))
    assert len({found[name] for name in (*near, "twin")}) == 1


def test_their_pixels_are_those_of_the_images(tmp_path: Path) -> None:
    raw = write_set(tmp_path / "raw", pictures(20))
    for name in ("processed", "unknown"):
        (tmp_path / name).mkdir()
    preprocess(raw, configuration(), tmp_path / "processed")
    preprocess_unknown(raw, configuration(), tmp_path / "unknown")
    data = ProcessedSet(tmp_path / "processed")
    unknown = data.unknown
    assert unknown is not None

    def by_id(opened: ProcessedSet) -> dict[str, np.ndarray]:
        splits = [opened.split(name) for name in ("train", "val", "test")]
        return {
            name: image for split in splits if len(split) for name, image in zip(split.ids, split.images(), strict=True)
        }

    ours, theirs = by_id(unknown), by_id(data)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_none_is_an_empty_class_map_and_all_blank_is_one_line(tmp_path: Path) -> None:
    for name in ("raw", "out", "other"):
        (tmp_path / name).mkdir()
    assert preprocess_unknown(tmp_path / "raw", configuration(), tmp_path / "out") is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["classes.json"]
    blank = write_set(tmp_path / "blank", [Picture("one", 1, side=1)])
    with pytest.raises(UserError, match=r"^ingest.unknown: preprocessing rejects all 1 images, as it does blank ones$"):
        preprocess_unknown(blank, configuration("clean=standard", "clean.drop_blank=true"), tmp_path / "other")
