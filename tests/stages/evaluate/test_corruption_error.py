import dataclasses
import json

import numpy as np
import pytest

from sightline.core.errors import UserError
from sightline.imaging import corruptions
from sightline.models.robustness import evaluate_corruptions
from sightline.stages.evaluate import corruption_error
from sightline.stages.evaluate.corruption_error import measure_robustness, robustness_numbers


@pytest.fixture(scope="module")
def settings(config):
    return dataclasses.replace(config, resamples=100, robustness_images=60)


@pytest.fixture(scope="module")
def found(digits, settings):
    return measure_robustness(digits.predict, digits.data, digits.data.split("test"), digits.raw, settings)


def test_clean_accuracy_is_that_of_the_prepared_images(digits, found):
    split = digits.data.split("test")
    chosen = np.linspace(0, 299, 60).round().astype(int)
    right = digits.predict(split.images(chosen)).argmax(axis=1) == split.labels[chosen]
    assert found.clean == pytest.approx(right.mean())
    assert found.images == 60


def test_severity_lowers_mean_accuracy(found):
    means = np.mean([found.accuracies[name] for name in corruptions.NAMES], axis=0)
    assert (np.diff(means) < 0).all(), means
    assert means[0] <= found.clean
    assert found.error == pytest.approx(1 - means.mean())
    assert found.error_interval[0] <= found.error <= found.error_interval[1]


def test_batching_changes_nothing(digits, settings, found):
    small = dataclasses.replace(settings, batch_size=7)
    assert measure_robustness(digits.predict, digits.data, digits.data.split("test"), digits.raw, small) == found


def test_corruption_errors_relate_to_the_baseline():
    rng = np.random.default_rng(0)
    clean = np.ones(50, bool)
    correct = rng.random((50, len(corruptions.NAMES), 5)) < 0.8
    own = {name: list(1 - correct[:, i].mean(axis=0)) for i, name in enumerate(corruptions.NAMES)}
    same = corruption_error.summarize(clean, correct, own)
    assert same.mean_corruption_error == pytest.approx(1)
    low, high = same.mean_corruption_error_interval
    assert low < 1 < high
    worse = {name: [2 * e for e in errors] for name, errors in own.items()}
    worse["fog"] = [0.0] * 5  # where the baseline makes no error there is nothing to relate to
    worse["contrast"] = [0.0, 0.0, 0.04, 0.06, 0.08]  # nine errors of 50 images: any error would be a large multiple
    half = corruption_error.summarize(clean, correct, worse)
    assert half.mean_corruption_error == pytest.approx(0.5)
    assert sorted(half.unrelated) == ["contrast", "fog"]
    assert robustness_numbers(half)["mean_corruption_error_corruptions"] == len(corruptions.NAMES) - 2
    perfect = corruption_error.summarize(clean, correct, dict.fromkeys(corruptions.NAMES, [0.0] * 5))
    assert perfect.mean_corruption_error is None
    assert perfect.note == corruption_error.FEW
    numbers = robustness_numbers(half)
    assert numbers["mean_corruption_error"] == half.mean_corruption_error
    none = corruption_error.summarize(clean, correct, {})
    assert none.mean_corruption_error is None
    assert "mean_corruption_error" not in robustness_numbers(none)
    for name, value in robustness_numbers(none).items():
        if f"{name}_low" in robustness_numbers(none):
            assert robustness_numbers(none)[f"{name}_low"] <= value <= robustness_numbers(none)[f"{name}_high"]


def test_baselines_are_read_where_they_are(digits, settings, tmp_path, found):
    split = digits.data.split("test")
    path = tmp_path / "baselines.json"
    content = {"methods": {}, "corruption_errors": {n: [0.5] * 5 for n in corruptions.NAMES}}
    sample = evaluate_corruptions(
        digits.predict, digits.data, split, digits.raw, images=60, seed=0, batch_size=256
    ).sample
    path.write_text(json.dumps({**content, "corruption_sample": sample}))
    related = measure_robustness(digits.predict, digits.data, split, digits.raw, settings, path)
    assert related.mean_corruption_error == pytest.approx(found.error / 0.5)
    assert related.note == ""
    for other in ({**sample, "images": 61}, {**sample, "seed": 1}, {**sample, "ids_sha256": "0" * 64}, None):
        path.write_text(json.dumps({**content, "corruption_sample": other}))
        apart = measure_robustness(digits.predict, digits.data, split, digits.raw, settings, path)
        assert apart == dataclasses.replace(found, note=corruption_error.OTHER)
    path.write_text('{"corruption_errors": [1]}')
    with pytest.raises(UserError, match="run the baseline stage again"):
        measure_robustness(digits.predict, digits.data, split, digits.raw, settings, path)
