"""The difference between two states of a dataset: properties that hold for any two."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sightline.changes.dataset_diff import ClassCount, DatasetState, LabelledImage, compare_datasets

images = st.dictionaries(
    st.sampled_from([f"{i}.png" for i in range(12)]),
    st.builds(
        LabelledImage,
        label=st.sampled_from("ab"),
        split=st.sampled_from(["train", "test"]),
        sha256=st.sampled_from("0123456789"),
    ),
)
states = st.builds(
    DatasetState, images=images, rejected=st.dictionaries(st.sampled_from(["x", "y", "z"]), st.just("corrupt"))
)


def image(label: str = "a", split: str = "train", sha256: str = "0") -> LabelledImage:
    return LabelledImage(label, split, sha256)


@given(states)
def test_a_state_does_not_differ_from_itself(state: DatasetState) -> None:
    diff = compare_datasets(state, state)
    assert diff.empty
    assert diff.counts() == []


@given(states, states)
def test_every_image_is_accounted_for(before: DatasetState, after: DatasetState) -> None:
    diff = compare_datasets(before, after)
    there, back = set(diff.added), compare_datasets(after, before)
    assert len(before.images) + len(diff.added) - len(diff.removed) == len(after.images)
    assert there <= after.images.keys() - before.images.keys()
    assert (len(diff.removed), len(diff.refused)) == (len(back.added), len(back.accepted))
    assert all(before.images[old].sha256 == after.images[new].sha256 for old, new in diff.renamed)
    for count in diff.counts():
        assert count.before + count.added - count.removed == count.after
        place = (count.label, count.split)
        assert count.after == Counter((i.label, i.split) for i in after.images.values())[place]


def test_each_kind_is_told_from_the_others() -> None:
    before = DatasetState(
        {
            "gone": image(sha256="1"),
            "old name": image(sha256="2"),
            "label": image(sha256="3"),
            "bytes": image(sha256="4"),
            "split": image(sha256="5"),
            "same": image(sha256="6"),
        },
        {"was bad": "corrupt"},
    )
    after = DatasetState(
        {
            "new": image("b", sha256="7"),
            "new name": image(sha256="2"),
            "label": image("b", sha256="3"),
            "bytes": image(sha256="8"),
            "split": image(split="test", sha256="5"),
            "same": image(sha256="6"),
        },
        {"is bad": "corrupt"},
        {"new": "group", "same": "group"},
    )
    diff = compare_datasets(before, after)
    assert (diff.added, diff.removed, diff.renamed) == (["new"], ["gone"], [("old name", "new name")])
    assert (diff.relabelled, diff.replaced, diff.moved) == (["label"], ["bytes"], ["split"])
    assert (diff.refused, diff.accepted, diff.near) == (["is bad"], ["was bad"], ["new"])
    assert diff.counts() == [
        ClassCount("a", "test", 0, 1, 0, 1),
        ClassCount("a", "train", 6, 0, 3, 3),
        ClassCount("b", "train", 0, 2, 0, 2),
    ]
