"""Class and split as a path tells them."""

from __future__ import annotations

import unicodedata

import pytest

from sightline.core.errors import UserError
from sightline.core.text import is_litter, readable
from sightline.sources.layout import Layout, Place, SplitFolder, is_called_split
from sightline.sources.layout_rules import AUTO, LayoutRules

TRAIN_TEST = {"train": SplitFolder("train"), "test": SplitFolder("test")}


def spread(*folders: str) -> list[str]:
    """Returns two images in each folder."""
    return [f"{folder}/{number}.png" for folder in folders for number in range(2)]


@pytest.mark.parametrize(
    ("folders", "wrapper", "splits"),
    [
        (["cat", "dog"], (), {}),
        (["cat/deep", "dog"], (), {}),
        (["train/cat", "test/dog"], (), TRAIN_TEST),
        (["Train/cat", "validation/dog"], (), {"Train": SplitFolder("train"), "validation": SplitFolder("val")}),
        (["train", "plane"], (), {}),  # trains and planes
        (["train", "plane", "test"], (), {}),
        (["train/1", "train/2", "plane/3", "plane/4"], (), {}),  # series of either
        (["bullet_train/a", "plane/b"], (), {}),
        (["birds/cat", "birds/dog"], ("birds",), {}),
        (["data/birds/cat", "data/birds/dog", "data/birds"], ("data", "birds"), {}),  # a loose picture
        (["birds/train/cat", "birds/val/dog"], ("birds",), {"train": SplitFolder("train"), "val": SplitFolder("val")}),
        (["cat"], (), {}),
        (["train/cat"], (), {"train": SplitFolder("train")}),
        (["train/cat", "test/dog", "__MACOSX/train", ".git/x"], (), TRAIN_TEST),
        (["train/cat/tabby", "train/dog/pug", "test/cat/tabby", "test/dog/pug"], (), TRAIN_TEST),
        (["train/cat", "train/dog", "test/cat", "to_predict"], (), TRAIN_TEST),
        (["train/cat", "train/dog", "val/cat", "test"], (), {"train": SplitFolder("train"), "val": SplitFolder("val")}),
        (
            ["training_set/cat", "test_set/cat"],
            (),
            {"training_set": SplitFolder("train"), "test_set": SplitFolder("test")},
        ),
        (
            ["train/cat", "train/dog", "train_2/cat", "train_2/dog"],  # parts of one split
            (),
            {"train": SplitFolder("train"), "train_2": SplitFolder("train")},
        ),
        (["train/cat", "train/dog", "bullet_train/a"], (), {}),
        (
            ["seg_train/seg_train/sea", "seg_train/seg_train/ice", "seg_test/seg_test/sea", "seg_pred/seg_pred"],
            (),
            {"seg_train": SplitFolder("train", ("seg_train",)), "seg_test": SplitFolder("test", ("seg_test",))},
        ),
        (
            ["train/images/cat", "train/images/dog", "test/images/cat", "test/images/dog"],
            (),
            {"train": SplitFolder("train", ("images",)), "test": SplitFolder("test", ("images",))},
        ),
        (
            [f"{split}/a/b/{label}" for split in ("train", "test") for label in ("cat", "dog")],
            (),
            {"train": SplitFolder("train", ("a", "b")), "test": SplitFolder("test", ("a", "b"))},
        ),
        (
            ["train/a/b/cat", "test/a/b/cat"],
            (),
            {"train": SplitFolder("train", ("a", "b")), "test": SplitFolder("test", ("a", "b"))},
        ),
        (["test_set"], (), {}),
        ([], (), {}),
    ],
)
def test_a_tree_is_read_as_a_person_would(
    folders: list[str], wrapper: tuple[str, ...], splits: dict[str, SplitFolder]
) -> None:
    layout, _ = AUTO.read([*spread(*folders), "README.md", "LICENSE/x.txt"])
    assert (layout.wrapper, dict(layout.splits)) == (wrapper, splits)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (
            ["train", "test"],
            r"test, train: named like splits, but without one folder per class; .*ingest\.source=table",
        ),
        (["train"], "train: named like splits"),
        (["training_set", "test_set"], "test_set, training_set: named like splits"),
        (["train/cat", "test/cat", "extra/cat"], "'extra', which contains the same classes, is not"),
        (["train_a/cat", "test_a/dog"], "'test_a' shares no class with the others"),
        (["train/cat", "train/dog", "holdout/cat"], "'train' is named like a split, but not holdout next to it"),
        (["training_set/cat", "training_set/dog", "to_predict"], "'training_set' is named like a split"),
        (["cat", "dog", "test/cat", "test/dog"], "'test' is named like a split, but not cat, dog next to it"),
    ],
)
def test_in_doubt_the_question_is_asked_and_both_answers_work(folders: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        AUTO.read(spread(*folders))
    assert "\n" not in str(error.value)
    classes, _ = LayoutRules("classes").read(spread(*folders))
    assert classes.place(f"{folders[0]}/0.png").label == folders[0].split("/")[0]
    assert "++ingest.source_options.layout=classes" in str(error.value)
    if "++ingest.source_options.layout=splits" in str(error.value):
        splits, notes = LayoutRules("splits").read(spread(*folders))
        assert {splits.place(path).split for path in spread(*folders)} - {None}
        assert all(other in notes[0] for other in ("extra", "holdout", "to_predict") if other in folders)


def test_splits_that_are_asked_for_must_be_there() -> None:
    with pytest.raises(UserError, match="layout=splits: no folder is called train, val or test"):
        LayoutRules("splits").read(spread("cat", "dog"))


def test_what_was_decided_is_said() -> None:
    _, notes = AUTO.read(spread("training_set/cat", "test_set/cat", "to_predict", "more"))
    assert notes == ["read as splits: test_set as test, training_set as train; left out: more, to_predict"]
    assert AUTO.read(spread("train/cat", "test/cat"))[1] == []
    _, notes = AUTO.read(spread("training_set/cat", "test_set/cat"))
    assert notes == ["read as splits: test_set as test, training_set as train"]
    _, notes = AUTO.read(spread("train/cat", "test/cat", "new"))
    assert notes == ["read as splits: test as test, train as train; left out: new"]
    _, notes = AUTO.read(spread(*(f"{label}/{series}" for label in ("a", "b", "c") for series in ("1", "2"))))
    assert notes[0].startswith("the images of all folders in 'a' (and in 2 more) are of that one class")
    _, notes = AUTO.read(spread("a/1", "a/2", "b/1", "b/2", "c"))
    assert notes[0].startswith("the images of all folders in 'a' (and in 1 more) are of that one class")
    _, notes = LayoutRules(class_depth=2).read(spread("pet/cat/1", "pet/cat/2", "pet/dog", "farm/cow"))
    assert notes[0].startswith(
        "the images of all folders in 'pet/cat' are of that one class; ++ingest.source_options.class_depth=3"
    )
    with pytest.raises(UserError, match="but not a, b, c, d, e and 2 more next to it"):
        AUTO.read(spread("train/cat", *"abcdefg"))
    with pytest.raises(UserError, match="but not a, b, c, d, e and 1 more next to it"):
        AUTO.read(spread("train/cat", *"abcdef"))
    with pytest.raises(UserError, match="but not a, b, c, d, e next to it"):
        AUTO.read(spread("train/cat", *"abcde"))
    _, notes = AUTO.read(spread("train/cat/a", "train/cat/b", "train/dog/a", "test/cat/a"))
    (note,) = notes
    assert note.startswith(
        "the images of all folders in 'cat' are of that one class; ++ingest.source_options.class_depth=2 makes"
    )


def test_a_class_may_be_two_folders_deep() -> None:
    layout, notes = LayoutRules(class_depth=2).read(
        spread("train/cat/tabby", "train/dog/pug", "test/cat/tabby", "train/dog")
    )
    assert layout.place("train/cat/tabby/x/1.png") == Place("train/cat/tabby/x/1.png", "cat/tabby", "train")
    assert layout.place("train/dog/1.png") == Place("train/dog/1.png", None, "train", "it is in no class's folder")
    assert notes == []


@pytest.mark.parametrize(
    ("layout", "path", "identity", "label", "split"),
    [
        (Layout(), "cat/a/b/1.png", "cat/a/b/1.png", "cat", None),
        (Layout(), "1.png", "1.png", None, None),
        (Layout((), TRAIN_TEST), "train/cat/1.png", "train/cat/1.png", "cat", "train"),
        (Layout((), TRAIN_TEST), "train/1.png", "train/1.png", None, "train"),
        (Layout((), TRAIN_TEST), "new/cat/1.png", "new/cat/1.png", None, None),
        (Layout((), TRAIN_TEST), "1.png", "1.png", None, None),
        (Layout(("w",), TRAIN_TEST), "w/test/cat/1.png", "test/cat/1.png", "cat", "test"),
        (Layout((), {"t": SplitFolder("test", ("t",))}), "t/t/cat/1.png", "t/t/cat/1.png", "cat", "test"),
        (Layout((), {"t": SplitFolder("test", ("t",))}), "t/cat/1.png", "t/cat/1.png", None, "test"),
        (Layout(("w",)), "w/1.png", "1.png", None, None),
        (Layout(("w", "v")), "w/cover/1.png", "w/cover/1.png", None, None),
        (Layout(("w",)), "README", "README", None, None),
        (Layout(), "e\u0301te/1.png", "\u00e9te/1.png", "\u00e9te", None),
        (Layout(twins=frozenset(["\u00e9te"])), "e\u0301te/1.png", "e\u0301te/1.png", "\u00e9te", None),
        (Layout(twins=frozenset(["\u00e9te"])), "\u00e9te/1.png", "\u00e9te/1.png", "\u00e9te", None),
        (Layout(twins=frozenset(["\u00e9te"])), "\u00e9te/e\u0301.png", "\u00e9te/\u00e9.png", "\u00e9te", None),
    ],
)
def test_place(layout: Layout, path: str, identity: str, label: str | None, split: str | None) -> None:
    place = layout.place(path)
    assert (place.id, place.label, place.split) == (identity, label, split)
    assert (place.label is None) == bool(place.fault)


def test_the_folder_of_a_class() -> None:
    assert Layout(("w",), TRAIN_TEST).class_of("w/train/cat") == "cat"
    assert [Layout().class_of(folder) for folder in ("cat", "cat/deep")] == ["cat", None]
    assert Layout((), TRAIN_TEST).class_of("train") is None


@pytest.mark.parametrize(
    ("name", "is_called"),
    [
        ("training_set", True),
        ("seg_test", True),
        ("val2017", True),
        ("bullet_train", False),
        ("data", False),
        ("7", False),
    ],
)
def test_a_name_that_says_split_and_nothing_else(name: str, is_called: bool) -> None:
    assert is_called_split(name) is is_called


def test_lost_classes_are_named_five_at_most() -> None:
    assert Layout().lost([], "empty") == Layout().lost(["cat/deep"], "empty") == []
    assert Layout().lost("cba", "empty") == [
        "no image of class 'a' (a), class 'b' (b), class 'c' (c): the folder is empty"
    ]
    assert Layout().lost("edcba", "empty")[0].endswith("class 'e' (e): the folder is empty")
    assert Layout().lost("fedcba", "empty")[0].endswith("class 'e' (e) and 1 more: the folder is empty")


def test_two_folders_of_one_name_are_found() -> None:
    names = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    layout, _ = AUTO.read(spread(*names, "tea"))
    places = [layout.place(f"{name}/0.png") for name in names]
    assert {place.label for place in places} == {names[0]}
    assert len({place.id for place in places}) == 2
    alone, _ = AUTO.read(spread(names[1], "tea"))
    assert alone.place(f"{names[1]}/0.png").id == f"{names[0]}/0.png"


@pytest.mark.parametrize(
    "path",
    [
        "__MACOSX/cat/._1.png", "cat/._1.png", "cat/.DS_Store", "Thumbs.db", "cat/DESKTOP.INI",
        "cat/.ipynb_checkpoints/1.png", "lost+found/1.png",
        ".git/HEAD", "cat/.hidden.png", "@eaDir/1.png/thumb.jpg", "cat/Icon\r", "$RECYCLE.BIN/1.png",
    ],
)  # fmt: skip
def test_litter(path: str) -> None:
    assert is_litter(path)


@pytest.mark.parametrize("path", ["cat/1.png", "./cat/1.png", "../1.png", "cat.d/a.b.png", "thumbs/1.png", ""])
def test_no_litter(path: str) -> None:
    assert not is_litter(path)


def test_names_that_are_no_utf8_become_readable() -> None:
    assert readable("a\udcff.png") == "a\\xff.png"
