from types import SimpleNamespace

import numpy as np

from sightline.reporting import examples


def answers(ids, labels, probabilities):
    probabilities = np.array(probabilities)
    return SimpleNamespace(
        ids=ids, labels=np.array(labels), probabilities=probabilities, predicted=probabilities.argmax(axis=1)
    )


SAID = answers(["b", "c", "a", "d"], [0, 0, 0, 1], [[0.3, 0.7], [0.9, 0.1], [0.3, 0.7], [0.8, 0.2]])


def test_worst_errors_are_most_certain_first_then_by_id():
    errors = examples.worst_errors(SAID, 10)
    assert [(e.id, e.position, e.label, e.predicted) for e in errors] == [
        ("d", 3, 1, 0),
        ("a", 2, 0, 1),
        ("b", 0, 0, 1),
    ]
    assert (errors[0].probability, errors[0].probability_of_true) == (0.8, 0.2)
    assert all(e.wrong for e in errors)
    assert examples.worst_errors(SAID, 1) == errors[:1]


def test_most_uncertain_are_right_or_wrong():
    predictions = answers(["a", "b", "c"], [0, 1, 1], [[0.6, 0.4], [0.1, 0.9], [0.55, 0.45]])
    assert [(e.id, e.wrong) for e in examples.most_uncertain(predictions, 2)] == [("c", True), ("a", False)]


def test_most_typical_is_the_surest_right_answer_of_each_class():
    predictions = answers(["z", "a", "c", "d"], [0, 0, 0, 1], [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.7, 0.3]])
    assert [(e.id, e.label) for e in examples.most_typical(predictions, 5)] == [("a", 0)]  # class 1 has no right answer
    assert examples.most_typical(predictions, 0) == []
