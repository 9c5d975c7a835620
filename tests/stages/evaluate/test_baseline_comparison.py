import json

import numpy as np
import pytest

from sightline.core.errors import UserError
from sightline.datasets import predictions
from sightline.metrics import paired
from sightline.stages.evaluate.baseline_comparison import read_comparisons
from sightline.stages.evaluate.results import SplitPredictions

LABELS = np.array([0, 1] * 20)
IDS = [f"{i:02d}" for i in range(40)]


def probabilities_of(wrong):
    predicted = np.where(np.isin(np.arange(40), wrong), 1 - LABELS, LABELS)
    return np.eye(2)[predicted] * 0.8 + 0.1


@pytest.fixture
def network():
    return SplitPredictions("test", IDS, LABELS, probabilities_of([3]), probabilities_of([3]))


@pytest.fixture
def folder(tmp_path):
    methods = {}
    for name, wrong in (("poor", range(20)), ("good", [3, 5])):
        probabilities = probabilities_of(list(wrong))
        predictions.save_predictions(
            tmp_path / f"{name}.parquet", IDS, LABELS, probabilities.argmax(axis=1), probabilities
        )
        accuracy = 1 - len(wrong) / 40
        methods[name] = {"title": f"The {name} one", "accuracy": accuracy, "bytes": 9, "f1_macro": accuracy}
        methods[name] |= {"accuracy_low": accuracy - 0.1, "accuracy_high": accuracy}
    (tmp_path / "baselines.json").write_text(json.dumps({"methods": methods}))
    return tmp_path


def test_each_is_paired_with_the_network_best_first(folder, network):
    found = read_comparisons(folder / "baselines.json", network)
    assert [b.name for b in found] == ["good", "poor"]
    assert found[0].difference == pytest.approx(1 / 40)
    assert found[0].p == 1
    right = np.isin(np.arange(40), range(20), invert=True)
    assert found[1].p == paired.mcnemar(network.correct, right) < 1e-3
    assert found[1].difference_interval[0] > 0.2


def test_other_images_and_damage_are_one_line(folder, network):
    other = SplitPredictions("test", [*IDS[:-1], "zz"], LABELS, network.probabilities, network.uncalibrated)
    with pytest.raises(UserError, match="other test images: run the baseline stage again"):
        read_comparisons(folder / "baselines.json", other)
    (folder / "good.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"baselines.json is damaged .*run the baseline stage again"):
        read_comparisons(folder / "baselines.json", network)
