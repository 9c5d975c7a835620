from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.promote.config import PromoteConfig
from sightline.promote.policy import Evidence, decide

POLICY = PromoteConfig(
    name="m",
    min_accuracy=0.6,
    min_class_recall=0.3,
    margin=0.05,
    max_ece=0.1,
    min_parity_images=50,
    max_rejected=0.05,
    max_lost=0.1,
)
LABELS = np.arange(200) % 4


def evidence(wrong: int = 20, **changes: Any) -> Evidence:
    """A model that errs on the first `wrong` images."""
    correct = np.arange(200) >= wrong
    ids = [f"{n:03}" for n in range(200)]
    known = Evidence(ids, list("abcd"), LABELS, correct, 0.02, 200, parity_available=300, parity_agreement=1.0)
    if "labels" in changes:
        changes["ids"] = ids[: len(changes["labels"])]
    return dataclasses.replace(known, **changes)


def test_the_first_needs_no_other_to_beat() -> None:
    decision = decide(evidence(), None, POLICY)
    assert decision.passed
    assert decision.facts == {"accuracy": 0.9, "min_class_recall": 0.9, "ece": 0.02}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"correct": np.arange(200) >= 90}, "accuracy 0.5500 is below promote.min_accuracy, 0.6"),
        ({"correct": LABELS != 2}, "recall 0.0000 of class 'c' is below promote.min_class_recall, 0.3"),
        ({"ece": 0.2}, "calibration error 0.2000 is above promote.max_ece, 0.1"),
        ({"ece": math.nan}, "calibration error nan is above"),
        ({"parity_images": 49}, "compared 49 of 300 images, promote.min_parity_images is 50: raise export.parity_im"),
        ({"parity_images": 39, "parity_available": 40}, "compared 39 of 40 images, promote.min_parity_images is 50"),
        ({"parity_images": 49, "parity_available": None}, "compared 49 images, promote.min_parity_images is 50"),
        ({"parity_agreement": 0.995}, "agrees with the trained model on 99.50 % of images"),
    ],
)
def test_each_floor_holds_back_alone_and_says_why(changes: dict[str, Any], message: str) -> None:
    decision = decide(evidence(**changes), None, POLICY)
    assert not decision.passed
    (reason,) = decision.reasons
    assert message in reason


def test_all_that_speaks_against_it_is_said() -> None:
    bad = evidence(wrong=200, ece=1.0, parity_images=1, parity_agreement=0.5)
    assert len(decide(bad, evidence(), POLICY).reasons) == 7


def test_a_clearly_worse_one_is_held_back_and_a_better_or_equal_one_is_not() -> None:
    assert decide(evidence(20), evidence(20), POLICY).passed
    assert decide(evidence(10), evidence(20), POLICY).passed
    worse = decide(evidence(60), evidence(20), POLICY)
    reason, by_class = worse.reasons
    assert "accuracy minus the champion's is -0.2000" in reason
    assert by_class.startswith("recall of 4 classes fell beyond chance: 'a' 0.9000 -> 0.7000 on 50 images (McNemar's p")
    assert by_class.endswith("and 1 more")
    assert worse.facts["difference_high"] < 0
    assert worse.facts["mcnemar_p"] < 1e-6


def test_a_small_set_is_no_fault_of_the_bundle() -> None:
    """All images that there are were compared, fewer than are asked for where there are more."""
    assert decide(evidence(parity_images=49, parity_available=49), None, POLICY).passed


def test_too_few_images_for_the_margin_are_said_with_what_can_be_done() -> None:
    few = evidence(labels=LABELS[:40], correct=np.ones(40, bool))
    (reason,) = decide(few, few, POLICY).reasons
    assert "identical predictions on 40 test images exclude no loss below 0.088" in reason
    assert reason.endswith('raise promote.margin, or sightline promote --force --reason "..."')
    assert decide(few, few, dataclasses.replace(POLICY, margin=0.09)).passed
    better = decide(few, evidence(labels=LABELS[:40], correct=np.arange(40) >= 8), POLICY)
    assert better.passed  # a gain shows in few images, too


def test_the_same_accuracy_by_other_images_is_not_enough_where_images_are_few() -> None:
    """Equal on average, but so different that a real loss of more than the margin is likely enough."""
    other = evidence(correct=np.arange(200) < 180)
    decision = decide(evidence(20), other, POLICY)
    assert decision.facts["difference"] == 0
    assert decision.facts["difference_low"] < -0.05
    assert not decision.passed
    assert decide(evidence(20), other, dataclasses.replace(POLICY, margin=0.1)).passed


def test_a_loss_within_the_margin_passes() -> None:
    assert decide(evidence(22), evidence(20), POLICY).passed
    assert not decide(evidence(22), evidence(20), dataclasses.replace(POLICY, margin=0.0)).passed


def test_another_test_set_cannot_be_compared() -> None:
    for ids in ([f"{n:03}" for n in range(1, 201)], [f"{n:03}" for n in range(200)]):
        other = evidence(50, ids=ids, labels=LABELS[::-1]) if ids[0] == "000" else evidence(50, ids=ids)
        decision = decide(evidence(0), other, POLICY)
        (reason,) = decision.reasons
        assert reason == (
            "of the 200 test images that the champion was scored on, this test split has 0, too few to compare the "
            'two: sightline promote --force --reason "..."'
        )
        assert "difference" not in decision.facts


def test_where_images_were_added_the_common_ones_are_compared() -> None:
    ids, added = [f"{n:03}" for n in range(150)], [f"{n:03}" for n in range(50, 250)]  # 100 in both
    champion = evidence(0, labels=LABELS[:150], correct=np.arange(150) >= 55)
    champion = dataclasses.replace(champion, ids=ids)
    candidate = dataclasses.replace(evidence(0, correct=np.arange(200) >= 5), ids=added, labels=(LABELS + 2) % 4)
    decision = decide(candidate, champion, POLICY)
    assert decision.passed, decision.reasons
    assert (decision.facts["common_images"], decision.facts["champion_accuracy"]) == (100, 0.95)
    worse = dataclasses.replace(candidate, correct=np.arange(200) % 10 != 3)
    assert "on the 100 images that both test splits have is -0.0500" in decide(worse, champion, POLICY).reasons[0]
    assert "of the 201 test" in decide(candidate, dataclasses.replace(champion, **_longer(champion)), POLICY).reasons[0]


def _longer(champion: Evidence) -> dict[str, Any]:
    """Facts that make the champion's test set so long that the candidate shares less than half of it."""
    return {
        "ids": [*champion.ids, *(f"x{n}" for n in range(51))],
        "labels": np.append(champion.labels, np.zeros(51, champion.labels.dtype)),
        "correct": np.append(champion.correct, np.ones(51, bool)),
    }


def test_a_model_that_lost_a_class_is_held_back() -> None:
    lost = evidence(0, classes=list("abce"))
    (reason,) = decide(lost, evidence(0), POLICY).reasons
    assert reason == (
        "the candidate does not know 'd', which the champion knows: if that is intended, "
        'sightline promote --force --reason "..."'
    )


OLD = LABELS != 3
CHAMPION = evidence(0, classes=list("abc"), labels=LABELS[OLD], correct=np.ones(150, bool))


def grown(**changes: Any) -> Evidence:
    """A model that knows a fourth class, which comes first, so that the old ones have other indices."""
    return evidence(0, classes=list("dabc"), labels=(LABELS + 1) % 4, **changes)


def test_a_model_of_more_classes_is_compared_on_the_images_of_the_old_ones() -> None:
    champion = dataclasses.replace(CHAMPION, ids=[id_ for id_, old in zip(grown().ids, OLD, strict=True) if old])
    decision = decide(grown(correct=OLD | (np.arange(200) % 8 == 3)), champion, POLICY)  # half of what is new is wrong
    assert decision.passed
    assert decision.facts["difference"] == 0
    assert (decision.facts["new_classes"], decision.facts["images_of_old_classes"]) == (1, 150)
    forgetful = grown(correct=~OLD | (np.arange(200) >= 60))
    reason, by_class = decide(forgetful, champion, POLICY).reasons
    assert reason.startswith("accuracy minus the champion's on the 150 images of its 3 classes is -0.3000")
    assert "recall of 3 classes fell" in by_class
    fewer = dataclasses.replace(champion, ids=[*champion.ids[:-1], "gone"])
    assert decide(grown(), fewer, POLICY).facts["images_of_old_classes"] == 149


def test_one_class_that_is_worse_beyond_chance_holds_it_back() -> None:
    correct = np.ones(200, bool)
    correct[[0, 4, 8, 12, 16, 20, 24, 28]] = False  # 8 of the 50 of class a
    loose = dataclasses.replace(POLICY, margin=0.2)
    (reason,) = decide(evidence(0, correct=correct), evidence(0), loose).reasons
    assert reason.startswith("recall of 1 class fell beyond chance: 'a' 1.0000 -> 0.8400 on 50 images (McNemar")
    correct[[0, 4, 8, 12]] = True
    assert decide(evidence(0, correct=correct), evidence(0), loose).passed  # as it may be by chance


def test_a_class_that_the_test_set_lacks_is_no_reason() -> None:
    assert decide(evidence(classes=list("abcde")), None, POLICY).passed


BOOLS = st.lists(st.booleans(), min_size=40, max_size=40).map(np.array)
FLOORS = st.floats(0, 1)


@settings(max_examples=60, deadline=None)
@given(correct=BOOLS, better=BOOLS, floors=st.tuples(FLOORS, FLOORS, FLOORS), loosened=st.floats(0, 0.5))
def test_more_right_answers_and_a_looser_policy_never_turn_a_yes_into_a_no(
    correct: Any, better: Any, floors: tuple[float, float, float], loosened: float
) -> None:
    # A margin that 40 images can prove at all.
    policy = dataclasses.replace(
        POLICY, margin=0.1, min_accuracy=floors[0], min_class_recall=floors[1], max_ece=floors[2]
    )
    one = evidence(labels=LABELS[:40], correct=correct)
    two = dataclasses.replace(one, correct=correct | better)
    alone = decide(one, None, policy)
    if alone.passed:
        assert decide(two, None, policy).passed
        # What is right wherever the champion is cannot be worse than it.
        assert decide(two, one, policy).passed
    looser = dataclasses.replace(
        policy,
        min_accuracy=max(0.0, policy.min_accuracy - loosened),
        min_class_recall=max(0.0, policy.min_class_recall - loosened),
        max_ece=min(1.0, policy.max_ece + loosened),
        margin=min(1.0, policy.margin + loosened),
    )
    assert set(map(kind, decide(one, two, looser).reasons)) <= set(map(kind, decide(one, two, policy).reasons))


def kind(reason: str) -> str:
    return reason.split()[0] + reason.split()[1]


@settings(max_examples=30, deadline=None)
@given(correct=BOOLS, other=BOOLS)
def test_the_same_question_gets_the_same_answer(correct: Any, other: Any) -> None:
    one, two = (evidence(labels=LABELS[:40], correct=c) for c in (correct, other))
    assert decide(one, two, POLICY) == decide(one, two, POLICY)


@pytest.mark.parametrize(
    ("key", "value"),
    [("min_accuracy", 1.1), ("margin", -0.1), ("max_ece", math.nan), ("min_parity_images", 0),
     ("name", " "), ("name", "a/b"), ("name", "a@b")],
)  # fmt: skip
def test_values_out_of_range_are_named(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{key}: "):
        dataclasses.replace(POLICY, **{key: value})
