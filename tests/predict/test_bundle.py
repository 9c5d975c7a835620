from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sightline
from sightline.core import files
from sightline.core.errors import UserError
from sightline.predict import manifest
from sightline.predict.bundle import Bundle
from tests.exported import CALIBRATION, Project

HEAVY = ("torch", "lightning", "pytorch_lightning", "mlflow", "hydra", "omegaconf", "pyarrow", "sklearn", "pandas",
         "albumentations", "scipy", "dvc", "safetensors", "matplotlib", "rich")  # fmt: skip


@pytest.fixture(scope="module")
def bundle(project: Project) -> Bundle:
    return Bundle.load(project.bundle, threads=1)


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Path:
    """A bundle to damage."""
    return shutil.copytree(project.bundle, tmp_path / "bundle")


def forge(folder: Path) -> None:
    """Makes the manifest fit whatever stands in the folder."""
    manifest.write_manifest(folder, {})


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_one_prediction_an_input_in_order_errors_included(
    project: Project, bundle: Bundle, tmp_path: Path, batch_size: int
) -> None:
    good = project.pictures
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "half.png").write_bytes(good[0].read_bytes()[:70])
    mixed = [
        *(tmp_path / "text.png", good[0], tmp_path / "half.png", tmp_path / "gone.png"),
        *(good[1], good[2], good[0], tmp_path / "empty.png"),
    ]
    made = list(bundle.predict(mixed, batch_size=batch_size))
    assert [p.path for p in made] == [str(path) for path in mixed]
    assert [p.error for p in made] == ["not_an_image", None, "truncated", "missing", None, None, None, "empty"]
    alone = {path: next(iter(bundle.predict([path]))) for path in good[:3]}
    for path, prediction in zip(mixed, made, strict=True):
        if prediction.error:
            assert (prediction.label, prediction.probability, prediction.top) == (None, None, ())
        else:
            assert prediction.label == alone[path].label
            assert prediction.probability == pytest.approx(alone[path].probability, abs=1e-6)


def test_streams(project: Project, bundle: Bundle) -> None:
    opened_paths: list[Path] = []

    def paths() -> object:
        for path in project.pictures:
            opened_paths.append(path)
            yield path

    next(iter(bundle.predict(paths(), batch_size=4, workers=0)))  # type: ignore[arg-type]
    assert len(opened_paths) == 4
    opened_paths.clear()
    next(iter(bundle.predict(paths(), batch_size=4, workers=2)))  # type: ignore[arg-type]
    assert len(opened_paths) < len(project.pictures) / 3


def test_nothing_in_nothing_out(bundle: Bundle) -> None:
    assert list(bundle.predict([])) == []


@pytest.mark.parametrize(("top_k", "length"), [(1, 1), (3, 3), (99, 10)])
def test_top_k_is_best_first(project: Project, bundle: Bundle, top_k: int, length: int) -> None:
    (prediction,) = bundle.predict(project.pictures[:1], top_k)
    shares = [share for _, share in prediction.top]
    assert len(shares) == length
    assert shares == sorted(shares, reverse=True)
    assert (prediction.label, prediction.probability) == prediction.top[0]
    if length == 10:
        assert sum(shares) == pytest.approx(1)


def test_of_equal_classes_the_first_wins_as_in_evaluation(bundle: Bundle) -> None:
    row = np.full(10, 0.1, np.float32)
    assert [label for label, _ in bundle._top(row, 10)] == bundle.classes


@pytest.mark.parametrize("name", ["model.onnx", "contract.json", "classes.json", "model_card.md"])
def test_a_changed_byte_is_refused(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(UserError, match=f"is damaged: {name} is not the file that was exported"):
        Bundle.load(copy)


def test_a_changed_byte_of_the_manifest_is_refused_wherever_it_is(copy: Path) -> None:
    path = copy / "manifest.json"
    data = path.read_bytes()
    own = data.rindex(b'"sha256": ')  # the name of its own digest: without it, all else is whole
    for place in (*range(0, len(data), 97), len(data) - 4):
        if not own <= place <= own + 7:
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(UserError, match=r"is damaged: |reads formats up to"):
                Bundle.load(copy)


@pytest.mark.parametrize("name", ["model.onnx", "contract.json", "classes.json"])
def test_a_missing_part_is_refused(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(UserError, match=f"is damaged: {name}: No such file"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "manifest.json cannot be read"),
        ("[1]", "manifest.json cannot be read"),
        ("[" * 100_000, "manifest.json cannot be read"),
        ('{"format": 1, "files": {"model.onnx": 3}}', "manifest.json cannot be read"),
        ('{"format": 3, "files": {}}', "bundle format 3, but this sightline reads formats up to 2"),
        ('{"format": 1, "files": {}}', "does not list calibration.json, classes.json, contract.json, model.onnx"),
    ],
)
def test_an_unusable_manifest_is_refused(copy: Path, content: str, why: str) -> None:
    (copy / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=why):
        Bundle.load(copy)


def test_a_manifest_cannot_reach_outside_its_bundle(copy: Path) -> None:
    content = json.loads((copy / "manifest.json").read_text())
    content["files"]["../../etc/passwd"] = {"bytes": 1, "sha256": "0"}
    files.write_json(copy / "manifest.json", content)
    with pytest.raises(UserError, match=r"lists '../../etc/passwd'"):
        Bundle.load(copy)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_refused(copy: Path, name: str) -> None:
    content = json.loads((copy / "manifest.json").read_text())
    content["files"][name] = {"bytes": 1, "sha256": "0"}
    (copy / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"lists '.*', not a valid file name"):
        Bundle.load(copy)


def test_a_transform_of_endless_depth_is_refused(copy: Path) -> None:
    (copy / "contract.json").write_text("[" * 100_000)
    forge(copy)
    with pytest.raises(UserError, match="cannot be used by this version"):
        Bundle.load(copy)


def test_what_is_no_bundle_is_refused_with_a_remedy(tmp_path: Path, project: Project) -> None:
    with pytest.raises(UserError, match="no such folder; the export stage writes"):
        Bundle.load(tmp_path / "gone")
    with pytest.raises(UserError, match=r"is not a bundle: it contains no manifest.json"):
        Bundle.load(tmp_path)
    with pytest.raises(UserError, match="is not a bundle"):
        Bundle.load(project.pictures[0])


def test_parts_of_different_bundles_do_not_pass_even_with_a_matching_manifest(copy: Path) -> None:
    classes = json.loads((copy / "classes.json").read_text())["classes"]
    files.write_json(copy / "classes.json", {"classes": classes[:9]})
    forge(copy)
    with pytest.raises(UserError, match=r"its parts do not match.*9 classes"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("name", "content"), [("model.onnx", b"garbage"), ("contract.json", b"{}"), ("classes.json", b"{}")]
)
def test_a_part_that_is_not_what_it_should_be_is_a_users_fault(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    forge(copy)
    with pytest.raises(UserError, match="cannot be used by this version of sightline") as caught:
        Bundle.load(copy)
    assert "\n" not in str(caught.value)


def test_importing_and_predicting_loads_nothing_heavy(project: Project) -> None:
    code = (
        "import sys; from sightline.predict import bundle, inputs, writers as output; from pathlib import Path;"
        "print(list(bundle.Bundle.load(sys.argv[1]).predict([sys.argv[2]]))[0].error)"
    )
    command = [sys.executable, "-X", "importtime", "-c", code, str(project.bundle), str(project.pictures[0])]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == "None\n"
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in run.stderr.splitlines() if "|" in line}
    assert {"onnxruntime", "numpy", "sightline"} <= imported
    assert imported.isdisjoint(HEAVY), imported.intersection(HEAVY)


def test_the_two_forms_and_no_other(project: Project) -> None:
    assert Bundle.load(project.bundle).model == "fp32"
    assert Bundle.load(project.bundle, model="int8").model == "int8"
    with pytest.raises(UserError, match="has no int4 model, only fp32, int8"):
        Bundle.load(project.bundle, model="int4")


def test_the_threshold_and_the_calibration_come_with_the_bundle(bundle: Bundle) -> None:
    assert bundle.threshold == CALIBRATION["threshold"]
    assert {name: value for name, value in bundle.calibration.items() if name != "novelty"} == CALIBRATION


WATCHED = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append(args) if event.startswith("pickle.") else None)
from pathlib import Path
from sightline.predict import inputs
from sightline.predict.bundle import Bundle
for form in ("fp32", "int8"):
    (made,) = Bundle.load(sys.argv[1], model=form).predict([sys.argv[2]])
    assert made.error is None
values = list(seen)
import collections, pickle
pickle.loads(pickle.dumps(collections.OrderedDict))
print(values, len(seen) - len(values))
"""


def test_predicting_never_unpickles_and_leaves_no_usage_report(project: Project, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WATCHED, str(project.bundle), str(project.pictures[0])]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert run.stdout == "[] 1\n"  # the hook sees a pickle where there is one
    assert list(tmp_path.iterdir()) == []


def test_both_ways_to_load_take_the_same_arguments(project: Project) -> None:
    for load in (Bundle.load, sightline.load):
        assert load(project.bundle, "int8").model == "int8"
        assert load(project.bundle, "fp32", 1).model == "fp32"
    names = [list(inspect.signature(load).parameters.items()) for load in (Bundle.load, sightline.load)]
    assert [(name, p.default) for name, p in names[0]][1:] == [(name, p.default) for name, p in names[1]][1:]


def test_a_fault_of_the_program_is_not_called_one_of_the_bundle(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TypeError):
        Bundle.load(project.bundle, "fp32", "two")  # type: ignore[arg-type]

    def fault(_: object) -> None:
        raise KeyError("a typing error")

    monkeypatch.setattr("sightline.predict.inference_model.Transform.from_dict", fault)
    with pytest.raises(KeyError, match="a typing error"):
        Bundle.load(project.bundle)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.json", b"[1]"),
        ("classes.json", b'{"classes": 3}'),
        ("calibration.json", b"[]"),
        ("contract.json", b'"text"'),
        ("model_card.md", b"\xff\xfe"),
    ],
)
def test_a_part_of_another_structure_is_a_users_fault(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    forge(copy)
    with pytest.raises(UserError, match="cannot be used by this version of sightline"):
        Bundle.load(copy)


def test_it_shows_what_it_tells_apart(bundle: Bundle) -> None:
    assert repr(bundle).startswith(f"<Bundle: {len(bundle.classes)} classes, ")
    assert bundle.model in repr(bundle)
    assert all(f"{name}" in bundle._repr_html_() for name in bundle.classes)
    assert "<Bundle" not in bundle._repr_html_()
