"""Splits as a pure function of the set: what moves when it grows, what leaks, what folds hold."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.datasets.raw_set import SPLITS
from sightline.stages.preprocess.groups import Groups, group_images
from sightline.stages.preprocess.split_config import Fold, SplitPlan
from sightline.stages.preprocess.splits import LEFT_OUT, TEST, TRAIN, VAL, asked, assign

PLAN = SplitPlan(0.2, 0.3, 0)


def digest(content: int) -> bytes:
    """Stands for a SHA-256; those of some contents differ only after the 8 digits that are compared first."""
    return f"{content // 3:08x}{hashlib.sha256(str(content).encode()).hexdigest()[8:]}".encode()


def grouped(rows: list[tuple[str, int, str | None]], near: dict[str, str], balance_all: bool = False) -> Groups:
    """Groups rows of (id, content, source group)."""
    return group_images(
        ids=[identity for identity, _, _ in rows],
        digests=b"".join(digest(content) for _, content, _ in rows),
        source_groups={place: group for place, (_, _, group) in enumerate(rows) if group},
        near=near,
        places={identity: place for place, (identity, _, _) in enumerate(rows)},
        balance_all=balance_all,
    )


def split(
    rows: list[tuple[str, int, str | None]],
    near: dict[str, str],
    plan: SplitPlan = PLAN,
    classes: list[str] | None = None,
    balance_all: bool = False,
) -> dict[str, int]:
    """Splits rows, each of the class that `classes` names for it."""
    groups = grouped(rows, near, balance_all)
    names = sorted(set(classes or [""]))
    labels = np.array([names.index(name) for name in classes or [""] * len(rows)], np.int32)
    assigned = assign(np.full(len(rows), LEFT_OUT, np.int8), groups, plan, labels, names)
    assert not len(assigned.leaks)
    return {identity: int(where) for (identity, _, _), where in zip(rows, assigned.splits, strict=True)}


def components(rows: list[tuple[str, int, str | None]], near: dict[str, str]) -> dict[str, set[str]]:
    """The slow and obvious way: images that a chain of links connects."""
    links: dict[object, set[str]] = defaultdict(set)
    for identity, content, group in rows:
        links["content", content].add(identity)
        if group:
            links["group", group].add(identity)
        if identity in near:
            links["near", near[identity]].add(identity)
    found = {identity: {identity} for identity, _, _ in rows}
    changed = True
    while changed:
        changed = False
        for linked in links.values():
            joined = set().union(*(found[identity] for identity in linked))
            for identity in joined:
                if found[identity] != joined:
                    found[identity], changed = joined, True
    return found


ROWS = st.lists(
    st.tuples(
        st.integers(0, 99).map("{:03}".format), st.integers(0, 12), st.sampled_from([None, None, None, "p", "q", "r"])
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda row: row[0],
)
NEAR = st.dictionaries(st.integers(0, 99).map("{:03}".format), st.sampled_from(["n1", "n2", "n3"]), max_size=8)


@given(rows=ROWS, near=NEAR)
@settings(max_examples=300, deadline=None)
def test_groups_are_the_connected_components(rows, near):
    groups = grouped(rows, near)
    of = {identity: int(code) for (identity, _, _), code in zip(rows, groups.codes, strict=True)}
    expected = components(rows, near)
    for identity, code in of.items():
        assert {other for other, theirs in of.items() if theirs == code} == expected[identity]
    by_id = {row[0]: row for row in rows}
    keys = list(groups.keys())
    for identity, code in of.items():
        _, content, group = by_id[min(expected[identity])]
        assert keys[code] == (group.encode() if group else digest(content))
    assert groups.together == sum(1 for members in {frozenset(m) for m in expected.values()} if len(members) > 1)


def test_sizes_say_how_uneven_groups_are():
    rows = [(str(n), n, "film" if n < 8 else None) for n in range(12)]  # 8, 1, 1, 1, 1: 12 ** 2 / 68
    assert grouped(rows, {}).sizes() == {"groups": 5, "largest_group": 8, "effective_groups": 2}
    assert grouped([], {}).sizes() == {"groups": 0, "largest_group": 0, "effective_groups": 0}


def test_names_of_groups_are_found_beyond_the_first_thousands():
    rows = [(f"{n:04}", n, "film" if n == 4999 else None) for n in range(5000)]
    assert list(grouped(rows, {}).keys()) == [*(digest(n) for n in range(4999)), b"film"]


def test_a_group_without_a_name_has_the_key_of_its_content():
    groups = group_images(["a", "b"], digest(1) + digest(2), {0: "", 1: ""}, {}, {})
    assert (list(groups.keys()), groups.codes.tolist()) == ([digest(1)], [0, 0])


@given(rows=ROWS, near=NEAR, seed=st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_order_says_nothing(rows, near, seed):
    shuffled = [rows[place] for place in np.random.default_rng(seed).permutation(len(rows))]
    assert split(rows, near) == split(shuffled, near)


@given(rows=ROWS, near=NEAR, kept=st.integers(1, 25))
@settings(max_examples=300, deadline=None)
def test_growing_moves_only_images_that_an_earlier_one_joined(rows, near, kept):
    rows = [(identity, content, None) for identity, content, _ in rows]
    before, after = split(rows[:kept], near), split(rows, near)
    groups_before, groups_after = components(rows[:kept], near), components(rows, near)
    for identity, where in before.items():
        if min(groups_after[identity]) == min(groups_before[identity]):
            assert after[identity] == where


@given(contents=st.lists(st.integers(0, 40), min_size=2, max_size=40), kept=st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_growing_moves_no_image_where_there_are_only_exact_duplicates(contents, kept):
    rows = [(f"{place * 7919 % 1000:03}", content, None) for place, content in enumerate(contents)]
    before, after = split(rows[:kept], {}), split(rows, {})
    assert {identity: after[identity] for identity in before} == before


@given(rows=ROWS, near=NEAR)
@settings(max_examples=200, deadline=None)
def test_no_group_straddles_splits(rows, near):
    where = split(rows, near)
    for members in components(rows, near).values():
        assert len({where[member] for member in members}) == 1


def test_an_image_that_links_two_groups_takes_the_later_to_the_earlier():
    apart = next(
        (a, b)
        for a in range(50)
        for b in range(50)
        if a != b and split([("1", a, None)], {})["1"] != split([("2", b, None)], {})["2"]
    )
    two = [("1", apart[0], None), ("2", apart[1], None)]
    # "3" looks like both: ingestion then gives all three one near-duplicate group.
    linked = split([*two, ("3", 99, None)], {"1": "1", "2": "1", "3": "1"})
    assert set(linked.values()) == {split(two, {})["1"]}


def test_fractions_are_met_group_by_group():
    where = np.array(list(split([(f"{n:05}", n, None) for n in range(20_000)], {}).values()))
    assert np.mean(where == TEST) == pytest.approx(0.3, abs=0.01)
    assert np.mean(where == VAL) == pytest.approx(0.2, abs=0.01)


def test_large_groups_are_not_drawn_to_one_split():
    rows = [(f"{n:05}", n, f"film-{n // 10}") for n in range(20_000)]
    where = np.array(list(split(rows, {}).values()))
    assert np.mean(where == TEST) == pytest.approx(0.3, abs=0.03)


def test_another_seed_gives_another_split():
    rows = [(f"{n:03}", n, None) for n in range(200)]
    assert split(rows, {}) != split(rows, {}, SplitPlan(0.2, 0.3, 1))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_over_all_folds_each_image_is_tested_once(n: int):
    rows = [(f"{i:04}", i, None) for i in range(3000)]
    folds = [split(rows, {}, SplitPlan(0.2, 0.9, 0, Fold(k, n))) for k in range(1, n + 1)]
    for identity, *_ in rows:
        assert sum(fold[identity] == TEST for fold in folds) == 1
    for fold in folds:
        share = np.bincount(list(fold.values()), minlength=3) / len(rows)
        assert share[TEST] == pytest.approx(1 / n, abs=0.04)
        assert share[VAL] == pytest.approx(0.2, abs=0.04)


@pytest.mark.parametrize("text", ["3", "0 of 5", "6 of 5", "1 of 1", "a of b", "1 / 5", "", "-1 of 5", "1 of 5 of 5"])
def test_a_bad_fold_is_refused(text: str):
    with pytest.raises(ValueError, match="is not 'k of n'"):
        Fold.parse(text)


def test_a_fold_is_read():
    assert Fold.parse(" 2 of 5 ") == Fold(2, 5)


def sourced(rows: list[tuple[int, str | None]], plan: SplitPlan = PLAN) -> tuple[list[int], list[int]]:
    """Splits images of (content, split in the source)."""
    groups = grouped([(f"{place:04}", content, None) for place, (content, _) in enumerate(rows)], {})
    given = np.array([LEFT_OUT if split is None else SPLITS.index(split) for _, split in rows], np.int8)
    assigned = assign(given, groups, plan)
    return assigned.splits.tolist(), assigned.leaks.tolist()


def test_splits_of_the_source_stay_and_validation_comes_from_its_training_images():
    splits, leaks = sourced([(n, "train" if n % 4 else "test") for n in range(2000)])
    assert not leaks
    assert {where for n, where in enumerate(splits) if n % 4 == 0} == {TEST}
    rest = [where for n, where in enumerate(splits) if n % 4]
    assert set(rest) == {TRAIN, VAL}
    assert np.mean(np.array(rest) == VAL) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("fold", [None, Fold(2, 4)])
@pytest.mark.parametrize(
    "named",
    [("train",), ("train", "val"), ("train", "test"), ("val",), ("test",), ("val", "test")],
    ids="+".join,
)
@pytest.mark.parametrize("unsplit", [False, True])
def test_what_the_source_does_not_name_is_drawn(named: tuple[str, ...], unsplit: bool, fold: Fold | None):
    """From its training images and those without a split, of which groups of five stay together."""
    if not unsplit and "train" not in named:
        return  # there is nothing to train on, which is the stage's to say
    kinds = [*named, *([None] if unsplit else [])]
    rows = [(n // 5, kinds[n // 5 % len(kinds)]) for n in range(10_000)]
    splits, leaks = sourced(rows, SplitPlan(0.2, 0.3, 0, fold))
    assert not leaks
    assert all(len(set(splits[n : n + 5])) == 1 for n in range(0, len(splits), 5))
    for name in ("val", "test"):
        assert all(where == SPLITS.index(name) for (_, kind), where in zip(rows, splits, strict=True) if kind == name)
    pool = np.array([where for (_, kind), where in zip(rows, splits, strict=True) if kind in ("train", None)])
    test = 0.0 if "test" in named else 0.25 if fold else 0.3
    val = 0.0 if "val" in named else 0.25 if fold and "test" in named else 0.2
    assert np.mean(pool == TEST) == pytest.approx(test, abs=0.05)
    assert np.mean(pool == VAL) == pytest.approx(val, abs=0.05)
    assert np.mean(pool == TRAIN) == pytest.approx(1 - test - val, abs=0.06)
    assert {SPLITS[where] for where in splits} == set(SPLITS)


def test_a_source_that_names_all_splits_is_taken_at_its_word():
    names = ["train", "val", "test"]
    assert sourced([(n, names[n % 3]) for n in range(90)])[0] == [SPLITS.index(names[n % 3]) for n in range(90)]


def test_unsplit_images_join_their_duplicates_and_are_else_drawn():
    splits, leaks = sourced([(0, "test"), (0, None), (1, "val"), (1, None), *((n, None) for n in range(2, 300))])
    assert splits[:4] == [TEST, TEST, VAL, VAL]
    assert not leaks
    assert set(splits[4:]) == {TRAIN}  # the source names the two others


@pytest.mark.parametrize(
    ("how", "expected"),
    [("drop", [TEST, LEFT_OUT, LEFT_OUT]), ("keep", [TEST, TRAIN, VAL]), ("fail", [TEST, TRAIN, VAL])],
)
def test_a_leak_is_found_and_the_protected_image_stays(how: str, expected: list[int]):
    splits, leaks = sourced([(0, "test"), (0, "train"), (0, "val")], SplitPlan(0.2, 0.3, 0, None, how))
    assert splits == expected
    assert leaks == [1, 2]


def test_a_fold_of_a_set_with_a_test_split_is_for_validation():
    rows = [(n, "test" if n % 5 == 0 else "train") for n in range(500)]
    folds = [sourced(rows, SplitPlan(0.2, 0.3, 0, Fold(k, 4)))[0] for k in range(1, 5)]
    for n in range(500):
        assert [fold[n] for fold in folds].count(VAL) == (0 if n % 5 == 0 else 1)
        assert [fold[n] for fold in folds].count(TEST) == (4 if n % 5 == 0 else 0)


@pytest.mark.parametrize(("text", "fold"), [("1 of 2", Fold(1, 2)), ("2 of 2", Fold(2, 2)), ("5 of 5", Fold(5, 5))])
def test_the_first_and_the_last_fold_are_folds(text: str, fold: Fold):
    assert Fold.parse(text) == fold


@pytest.mark.parametrize(
    ("named", "fold", "expected"),
    [
        ([], None, {"val": 0.2, "test": 0.3}),
        (["train"], None, {"val": 0.2, "test": 0.3}),
        (["test"], None, {"val": 0.2}),
        (["train", "val"], None, {"test": 0.3}),
        (["val", "test"], None, {}),
        ([], Fold(1, 4), {"val": 0.2, "test": 0.25}),
        (["test"], Fold(1, 4), {"val": 0.25}),
        (["val", "test"], Fold(1, 4), {}),
    ],
)
def test_what_is_asked_is_of_the_splits_that_are_drawn(named: list[str], fold: Fold | None, expected: dict[str, float]):
    given = np.array([*map(SPLITS.index, named), LEFT_OUT], np.int8)
    assert asked(given, SplitPlan(0.2, 0.3, 0, fold)) == expected


# --- the source's groups are balanced ---------------------------------------------------------------------------------

SIZES = st.lists(st.tuples(st.integers(1, 40), st.sampled_from("abc")), min_size=1, max_size=20)
FOLDS = st.sampled_from([None, Fold(1, 3), Fold(3, 5)])


def films(sizes: list[tuple[int, str]], mixed: bool = False) -> tuple[list[tuple[str, int, str | None]], list[str]]:
    """Returns rows in groups of a size and a class each, or of classes in turn, and their classes; ids by class."""
    rows, classes = [], []
    for number, (size, name) in enumerate(sizes):
        for place in range(size):
            identity = f"{'' if mixed else name}{number:04}-{place:04}"
            rows.append((identity, len(rows), f"film {number}"))
            classes.append("abc"[place % 3] if mixed else name)
    return rows, classes


@given(sizes=SIZES, later=SIZES, mixed=st.booleans(), fold=FOLDS, seed=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_groups_that_come_later_move_none(sizes, later, mixed, fold, seed):
    """Later in their class, where groups are of one class; the classes themselves may be new."""
    plan = SplitPlan(0.15, 0.2, seed, fold)
    rows, classes = films(sizes, mixed)
    all_rows, all_classes = films(sizes + later, mixed)
    before, after = split(rows, {}, plan, classes), split(all_rows, {}, plan, all_classes)
    assert {identity: after[identity] for identity in before} == before


@given(sizes=SIZES, mixed=st.booleans(), seed=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_each_group_is_whole_and_tested_once_over_the_folds(sizes, mixed, seed):
    rows, classes = films(sizes, mixed)
    folds = [split(rows, {}, SplitPlan(0.15, 0.2, seed, Fold(k, 4)), classes) for k in range(1, 5)]
    for group in {group for _, _, group in rows}:
        inside = [identity for identity, _, name in rows if name == group]
        assert [{fold[identity] for identity in inside} for fold in folds].count({TEST}) == 1
        assert all(len({fold[identity] for identity in inside}) == 1 for fold in folds)


def test_images_without_a_group_are_drawn_as_ever_beside_groups():
    alone = [(f"{number:04}", 10_000 + number, None) for number in range(200)]
    rows, _ = films([(30, "a")] * 10)
    both = split([*alone, *rows], {}, classes=["a"] * (len(alone) + len(rows)))
    assert {identity: both[identity] for identity, *_ in alone} == split(alone, {}, classes=["b"] * len(alone))


def shares(where: dict[str, int]) -> np.ndarray:
    return np.bincount(list(where.values()), minlength=3) / len(where)


@pytest.mark.parametrize(
    ("sizes", "mixed", "off"),
    [
        ([(600 // (n + 1), "a") for n in range(20)], True, 0.03),  # films of very different lengths
        ([(30, "abc"[n % 3]) for n in range(24)], False, 0.06),
        ([(n % 35 + 1, "abc"[n % 3]) for n in range(300)], True, 0.02),
    ],
    ids=["few", "by class", "many"],
)
def test_shares_are_met_as_far_as_groups_allow(sizes: list[tuple[int, str]], mixed: bool, off: float):
    rows, classes = films(sizes, mixed)
    plans = [SplitPlan(0.15, 0.2, seed) for seed in range(12)]
    found = [shares(split(rows, {}, plan, classes)) for plan in plans]
    assert np.mean([np.abs(share - [0.65, 0.15, 0.2]).max() for share in found]) < off
    assert len({tuple(share) for share in found}) > 1, "another seed, another split"


def test_nearly_every_class_of_eight_groups_is_validated_and_tested():
    """By hashes alone, 27 % of such classes have no validation image (0.85 to the power of 8)."""
    names = [f"{number:02}" for number in range(40)]
    groups = [f"{name}/{number}" for name in names for number in range(8)]
    rows = [(f"{group}-{i}", 5 * place + i, group) for place, group in enumerate(groups) for i in range(5)]
    where = split(rows, {}, SplitPlan(0.15, 0.2, 0), [identity[:2] for identity, *_ in rows])
    missing = [name for name in names for part in (VAL, TEST) if part not in {where[i] for i in where if i[:2] == name}]
    assert len(missing) <= 6
    assert shares(where) == pytest.approx([0.65, 0.15, 0.2], abs=0.03)


def test_images_that_come_to_groups_move_few():
    """A tenth of the groups gets one image more. Another seed would move a third of the images."""
    sizes = [(5 + 7 * n % 31, "abcdefghij"[n % 10]) for n in range(100)]
    rows, classes = films(sizes)
    before = split(rows, {}, classes=classes)
    last = {group: identity for identity, _, group in rows}
    grown = [(f"{last[f'film {n}']}x", 10_000 + n, f"film {n}") for n in range(0, 100, 11)]
    after = split([*rows, *grown], {}, classes=[*classes, *(identity[0] for identity, *_ in grown)])
    assert np.mean([after[identity] != before[identity] for identity in before]) < 0.05


# --- every image is balanced ------------------------------------------------------------------------------------------


def alone(count: int, name: str, first: int = 0) -> list[tuple[str, int, str | None]]:
    return [(f"{name}/{number:03}", 1000 * ord(name) + number, None) for number in range(first, first + count)]


def test_classes_of_ten_images_are_validated_and_tested():
    rows = [row for name in "abcdefghij" for row in alone(10, name)]
    classes = [identity[0] for identity, *_ in rows]
    for seed in range(5):
        where = split(rows, {}, SplitPlan(0.15, 0.2, seed), classes, balance_all=True)
        for name in "abcdefghij":
            parts = np.bincount([part for identity, part in where.items() if identity[0] == name], minlength=3)
            assert parts[TEST] in (1, 2, 3), parts
            assert parts[VAL] in (1, 2), parts


@given(rows=ROWS, near=NEAR, seed=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_what_belongs_together_stays_so_where_every_image_is_balanced(rows, near, seed):
    plan = SplitPlan(0.2, 0.3, seed)
    where = split(rows, near, plan, balance_all=True)
    assert all(len({where[identity] for identity in inside}) == 1 for inside in components(rows, near).values())
    assert where == split(rows[::-1], near, plan, balance_all=True), "order says nothing"


@given(sizes=st.lists(st.integers(1, 30), min_size=3, max_size=3), more=st.integers(1, 10), seed=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_images_that_come_later_in_their_class_move_none(sizes, more, seed):
    plan = SplitPlan(0.15, 0.2, seed)
    rows = [row for name, size in zip("abc", sizes, strict=True) for row in alone(size, name)]
    grown = [*rows, *(row for name, size in zip("abc", sizes, strict=True) for row in alone(more, name, size))]
    before, after = (
        split(some, {}, plan, [identity[0] for identity, *_ in some], balance_all=True) for some in (rows, grown)
    )
    assert {identity: after[identity] for identity in before} == before
