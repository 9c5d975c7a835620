import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from sightline.core.errors import UserError
from sightline.metrics import base, calibration, classification
from sightline.metrics.probability_scores import row_log_loss
from sightline.stages.evaluate.baseline_comparison import BaselineComparison
from sightline.stages.evaluate.console import evaluation_lines
from sightline.stages.evaluate.report import ReportContent, summary
from sightline.stages.evaluate.results import SplitPredictions
from sightline.stages.evaluate.scoring import choose_temperature, find_suspects, score_model
from sightline.stages.evaluate.stage import evaluate_split


@pytest.fixture(scope="module")
def settings(config):
    return dataclasses.replace(config, resamples=100, robustness_images=20)


@pytest.fixture(scope="module")
def found(digits, settings):
    return score_model(digits.predict, digits.data, settings, digits.raw)


def test_the_numbers_are_those_of_the_calibrated_probabilities(found, settings):
    test = found.test
    assert found.temperature != 1
    expected = classification.classification_metrics(test.labels, test.probabilities, resamples=100)
    for name, value in expected.items():
        assert found.numbers[name] == value, name
    assert found.numbers["log_loss_uncalibrated"] == round(row_log_loss(test.labels, test.uncalibrated).mean(), 6)
    scaled = calibration.apply_temperature(test.uncalibrated, found.temperature)
    assert np.array_equal(scaled, test.probabilities)
    assert sum(b.count for b in found.bins) == len(test.ids) == found.counts.sum() == 300


def test_the_test_split_decides_nothing(digits, settings, found):
    # Another test split: what is chosen stays the same.
    index = digits.data.index
    other = score_model(lambda x: digits.predict(x), digits.data, settings, split="train")
    assert other.temperature == found.temperature
    assert other.abstention == found.abstention
    assert len(index) == 1000


def test_the_test_split_is_read_once(digits, settings):
    asked = []

    def predict(images):
        asked.append(len(images))
        return digits.predict(images)

    score_model(predict, digits.data, settings)
    assert sum(asked) == 300 + 200


def test_the_threshold_is_that_of_the_validation_split(found, settings):
    val, test = found.validation, found.test
    answered = val.confidences >= found.abstention.threshold
    assert val.correct[answered].mean() >= settings.target_accuracy
    assert answered.mean() == pytest.approx(found.abstention.coverage)
    assert found.numbers["coverage"] == pytest.approx((test.confidences >= found.abstention.threshold).mean())
    assert found.numbers["selective_accuracy"] > found.numbers["accuracy"]


def test_a_few_right_images_change_no_probability():
    labels = np.zeros(50, np.int64)
    certain = np.tile([0.9, 0.1], (50, 1))
    certain[0] = [0.45, 0.55]
    assert calibration.fit_temperature(labels, calibration.log_probabilities(certain)) != 1
    assert choose_temperature(labels[:3], certain[1:4]) == 1
    assert choose_temperature(labels[:0], certain[:0]) == 1


def test_without_validation_images_nothing_is_chosen(make_set, model, settings, tmp_path):
    data = make_set(["a", "b"])
    data.index = data.index.filter([split != "val" for split in data.index["split"].to_pylist()])
    found = evaluate_split(model(2), data, config=settings, out=tmp_path)
    assert json.loads((tmp_path / "calibration.json").read_text()) == {
        "temperature": 1.0,
        "target_accuracy": 0.99,
        "threshold": None,
        "coverage": 0.0,
    }
    assert "coverage" not in found.numbers
    assert any("no confidence reaches" in line for line in evaluation_lines(found))
    assert any(line.endswith(" validation images call for no temperature") for line in evaluation_lines(found))


def test_suspects_are_the_planted_ones(digits, settings):
    answers = []
    planted = set()
    rng = np.random.default_rng(0)
    for name in ("val", "test"):
        split = digits.data.split(name)
        probabilities = digits.predict(split.images())
        labels = split.labels.copy()
        for i in rng.choice(len(labels), len(labels) // 10, replace=False):
            labels[i] = (labels[i] + rng.integers(1, 10)) % 10
            planted.add(split.ids[i])
        answers.append(SplitPredictions(name, split.ids, labels, probabilities, probabilities))
    found, note = find_suspects(*answers)
    assert note == ""
    assert [s.score for s in found] == sorted(s.score for s in found)
    assert {s.id for s in found[: len(planted) // 2]} <= planted
    right = [s for s in found if s.id in planted]
    assert len(right) > 0.65 * len(planted)
    assert len(right) > 0.6 * len(found)  # the model errs on one image in ten
    for s in right[:10]:
        of = answers[s.split == "test"]
        assert (of.ids[s.position], of.labels[s.position]) == (s.id, s.label)
        assert s.suggested != s.label


def test_lines_say_what_was_found(found):
    text = "\n".join(evaluation_lines(found, 1))
    assert f"accuracy {found.numbers['accuracy']:.4f}" in text
    assert "worst slice: " in text
    assert f" without the temperature {found.temperature:.3g} from " in text
    assert "corrupted, " in text
    assert "scored once" in text
    assert "fit them better" not in text
    assert "fit them better" in evaluation_lines(found, 12)[-1]


def test_an_unknown_slice_is_named(digits, settings):
    with pytest.raises(UserError, match=r"evaluate.slices: 'colour' is not one of size, aspect"):
        score_model(digits.predict, digits.data, dataclasses.replace(settings, slices=["colour"]), digits.raw)


def test_predicted_classes_do_not_depend_on_the_temperature(found):
    assert (base.predicted_classes(found.test.probabilities) == found.test.predicted).all()


def test_a_model_that_is_hardly_better_than_chance_doubts_no_label(make_set, config, tmp_path):
    data = make_set(["a", "b", "c", "d", "e", "f"], per_split=5)
    rng = np.random.default_rng(1)
    answers_of = {}

    def guess(images):
        return np.stack([answers_of.setdefault(image.tobytes(), rng.dirichlet(np.ones(6))) for image in images])

    found = evaluate_split(guess, data, config=config, out=tmp_path)
    assert found.suspects == []
    line = next(
        line for line in evaluation_lines(found) if line.startswith("no list of suspect labels: the model is right on ")
    )
    assert "not shown to be better than always predicting one class, right on 10 (p = " in line
    assert "may be wrong: the model is right on" in (tmp_path / "report.html").read_text()
    assert pq.read_table(tmp_path / "suspects.parquet").num_rows == 0


def lead(difference, interval):
    return BaselineComparison("hog_svm", "HOG with an SVM", 0.9, (0.8, 0.95), 0.9, 100, difference, interval, 0.01)


@pytest.mark.parametrize(
    ("difference", "interval", "line", "sentence"),
    [
        (
            -0.179,
            (-0.2731, -0.081),
            "hog_svm is better by 17.9 points (95 % interval +8.1 to +27.3)",
            "is better than the network: it is right on",
        ),
        (
            -0.02,
            (-0.06, 0.021),
            "hog_svm leads by 2.0 points (95 % interval -2.1 to +6.0), which may be chance",
            "is right on",
        ),
    ],
)
def test_the_terminal_and_the_report_say_that_a_baseline_is_better(found, difference, interval, line, sentence):
    beaten = dataclasses.replace(found, baselines=[lead(difference, interval)])
    assert line in evaluation_lines(beaten)
    table = {"train": np.ones(len(found.classes))}
    assert f"The best baseline, “HOG with an SVM”, {sentence}" in summary(ReportContent(beaten, {}), table)[2]


def test_a_class_without_a_training_image_is_not_blamed_on_the_network(found):
    scores = list(found.scores)
    scores[3] = dataclasses.replace(scores[3], correct=0, values={**scores[3].values, "recall": 0.0})
    counts = np.ones(len(found.classes))
    blamed = summary(ReportContent(dataclasses.replace(found, scores=scores), {}), {"train": counts})[1]
    assert f"It finds “{found.classes[3]}” least reliably" in blamed
    counts[3] = 0
    text = summary(ReportContent(dataclasses.replace(found, scores=scores), {}), {"train": counts})[1]
    assert f"“{found.classes[3]}” least reliably" not in text
    assert text.endswith(f" It cannot know “{found.classes[3]}”: no training image has the label.")


def test_no_line_where_the_network_is_ahead(found):
    ahead = dataclasses.replace(found, baselines=[lead(0.1, (0.05, 0.15))])
    assert not any("hog_svm" in line for line in evaluation_lines(ahead))
