"""A model on disk: the same bits back in any process, equal weights equal bytes, nothing damaged let through."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sightline.core import files
from sightline.core.errors import UserError
from sightline.models import saved_model
from sightline.models.architectures.cnn import Cnn
from sightline.models.classifier import build_classifier
from sightline.models.inference import Predictor
from sightline.models.model_info import TrainingLineage
from tests.models.conftest import OPTIONS, make, pictures

SHAPE = (12, 10, 3)
CLASSES = ["a", "b", "c", "größe", "数字"]


def save(folder: Path, name: str = "cnn") -> str:
    torch.set_num_threads(1)  # the last bits of the statistics depend on it
    classifier = make(name)
    classifier.train()(pictures(8))  # batch norm's running statistics are part of the state
    lineage = TrainingLineage(profile={"threads": 1})
    return saved_model.save_model(folder, classifier, OPTIONS[name], SHAPE, CLASSES, lineage)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_bit_comes_back(tmp_path: Path, name: str) -> None:
    classifier = make(name)
    classifier.train()(pictures(8))
    lineage = TrainingLineage(best_epoch={"epoch": 3})
    digest = saved_model.save_model(tmp_path, classifier, OPTIONS[name], SHAPE, CLASSES, lineage)
    loaded, info = saved_model.load_model(tmp_path)
    before, after = classifier.state_dict(), loaded.state_dict()
    assert list(before) == list(after)
    for key, tensor in before.items():
        assert torch.equal(tensor, after[key]), key
        assert tensor.dtype == after[key].dtype
    assert not loaded.training
    assert digest == info.weights_sha256 == files.sha256_file(tmp_path / saved_model.WEIGHTS)
    assert info.classes == CLASSES
    assert info.shape == (12, 10, 3)
    assert info.lineage.best_epoch == {"epoch": 3}
    with torch.inference_mode():
        assert torch.equal(classifier.eval()(pictures(3)), loaded(pictures(3)))


FRESH = """
import sys
from pathlib import Path
import numpy as np
from sightline.models import saved_model
from sightline.models.inference import Predictor
from tests.models.conftest import OPTIONS, pictures
from tests.models.test_saved_model import save
here, out = map(Path, sys.argv[1:])
np.save(out / "probabilities.npy", Predictor.load(here / "cnn")(pictures(5).numpy()))
for name in ("cnn", "dense"):
    save(out / name, name)
print([name for name in ("torchvision", "pytorch_lightning", "mlflow") if name in sys.modules])
"""


@pytest.mark.slow
def test_another_process_writes_the_same_bytes_and_predicts_the_same_bits(tmp_path: Path) -> None:
    """Another hash seed, another history of imports; and small networks load without the large libraries."""
    for name in ("cnn", "dense"):
        save(tmp_path / "here" / name, name)
    (tmp_path / "there").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FRESH, str(tmp_path / "here"), str(tmp_path / "there")],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
    probabilities = np.load(tmp_path / "there" / "probabilities.npy")
    assert probabilities.tobytes() == Predictor.load(tmp_path / "here" / "cnn")(pictures(5).numpy()).tobytes()
    for name in ("cnn", "dense"):
        assert files.sha256_tree(tmp_path / "here" / name) == files.sha256_tree(tmp_path / "there" / name)


def test_any_changed_tensor_changes_the_digest() -> None:
    classifier = make("cnn")
    digests = {files.sha256(saved_model.weights_bytes(classifier))}
    for tensor in classifier.state_dict().values():
        with torch.no_grad():
            tensor += 1
        digests.add(files.sha256(saved_model.weights_bytes(classifier)))
    assert len(digests) == 1 + len(classifier.state_dict())


def test_memory_layout_and_gradients_leave_no_trace() -> None:
    plain, other = make("cnn"), make("cnn")
    other = other.to(memory_format=torch.contiguous_format)
    other(pictures(2)).sum().backward()
    other.load_state_dict(plain.state_dict())
    assert saved_model.weights_bytes(plain) == saved_model.weights_bytes(other)


def test_the_files_hold_no_pickle_and_no_time(tmp_path: Path) -> None:
    save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [saved_model.INFO, saved_model.WEIGHTS]
    content = (tmp_path / saved_model.WEIGHTS).read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert "__metadata__" not in header
    ends = max(entry["data_offsets"][1] for entry in header.values())
    assert len(content) == 8 + length + ends  # after the JSON header, the tensors' bytes and nothing more
    assert b"\x80\x02" not in content[:length]
    json.loads((tmp_path / saved_model.INFO).read_text())


def test_loading_leaves_torchs_random_numbers_alone(tmp_path: Path) -> None:
    save(tmp_path)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    saved_model.load_model(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_resnets_first_weights_are_not_needed_again(tmp_path: Path) -> None:
    from sightline.models.architectures.resnet import ResNet

    saved_model.save_model(tmp_path, make("resnet18"), ResNet("resnet18", "gone.pth"), SHAPE, CLASSES)
    _, info = saved_model.load_model(tmp_path)
    assert info.architecture["weights"] == "gone.pth"


# --- what must not be let through ----------------------------------------------------------------------------------


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        saved_model.load_model(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert "run the train stage" in line
    return line


@pytest.mark.parametrize("name", [saved_model.WEIGHTS, saved_model.INFO])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    save(tmp_path)
    (tmp_path / name).unlink()
    assert (
        refused(tmp_path)
        == f"{tmp_path / name} is missing: name the folder that training wrote (models), or run the train stage"
    )


@pytest.mark.parametrize("place", [0, 8, 500, -1])
def test_one_flipped_bit_is_noticed(tmp_path: Path, place: int) -> None:
    save(tmp_path)
    content = bytearray((tmp_path / saved_model.WEIGHTS).read_bytes())
    content[place] ^= 1
    (tmp_path / saved_model.WEIGHTS).write_bytes(content)
    assert saved_model.WEIGHTS in refused(tmp_path)


def test_a_truncated_file_and_another_models_are_noticed(tmp_path: Path) -> None:
    save(tmp_path / "one")
    save(tmp_path / "other", "dense")
    (tmp_path / "one" / saved_model.WEIGHTS).write_bytes((tmp_path / "other" / saved_model.WEIGHTS).read_bytes())
    assert "not the one model.json describes" in refused(tmp_path / "one")
    content = (tmp_path / "other" / saved_model.WEIGHTS).read_bytes()
    for length in (0, 7, len(content) - 1):
        (tmp_path / "other" / saved_model.WEIGHTS).write_bytes(content[:length])
        assert "damaged" in refused(tmp_path / "other")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b'{"weights_sha256": 1}'])
def test_a_damaged_description_is_refused(tmp_path: Path, content: bytes) -> None:
    save(tmp_path)
    (tmp_path / saved_model.INFO).write_bytes(content)
    line = refused(tmp_path)
    assert line.startswith(f"{tmp_path / saved_model.INFO} is damaged (")
    assert line.endswith("): run the train stage again")
    assert "\n" not in line


def test_a_cnn_saved_before_stems_existed_computes_at_the_images_size(tmp_path: Path) -> None:
    shape = (64, 64, 3)
    full = Cnn("cnn", 4, None, 8, 0.0, "full")
    classifier = build_classifier(full, shape, len(CLASSES), [0.5] * 3, [0.2] * 3).eval()
    saved_model.save_model(tmp_path, classifier, full, shape, CLASSES)
    info = json.loads((tmp_path / saved_model.INFO).read_text())
    assert info["architecture"].pop("stem") == "full"
    (tmp_path / saved_model.INFO).write_text(json.dumps(info))
    loaded, _ = saved_model.load_model(tmp_path)
    with torch.inference_mode():
        assert torch.equal(loaded(pictures(2, shape)), classifier(pictures(2, shape)))


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": {"name": "os.system"}},
        {"architecture": {"name": "cnn"}},
        {"architecture": {"name": "cnn", "width": -1, "blocks": 2, "hidden": 8, "dropout": 0.2}},
        {"architecture": {"name": "cnn", "width": 5, "blocks": 2, "hidden": 8, "dropout": 0.2}},
        {"architecture": {"name": "dense", "hidden": [4], "dropout": 0.2}},
        {"input": {"height": 12, "width": 10, "channels": 1}},
        {"input": {}},
        {"classes": ["a", "b"]},
        {"classes": None},
    ],
)
def test_a_description_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    save(tmp_path)
    info = json.loads((tmp_path / saved_model.INFO).read_text())
    (tmp_path / saved_model.INFO).write_text(json.dumps({**info, **change}))
    refused(tmp_path)


def test_a_predictor_refuses_other_classes_and_takes_the_models_threads(tmp_path: Path) -> None:
    save(tmp_path)
    torch.set_num_threads(2)
    predictor = Predictor.load(tmp_path)
    assert torch.get_num_threads() == 1
    predictor.check_classes(CLASSES)
    for classes in (CLASSES[::-1], CLASSES[:-1], [*CLASSES, "z"]):
        with pytest.raises(UserError, match="train again"):
            predictor.check_classes(classes)
