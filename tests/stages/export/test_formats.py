from __future__ import annotations

import dataclasses
import json
import os
import pickletools
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.processed_set import ProcessedSet
from sightline.models import saved_model
from sightline.predict.bundle import Bundle
from sightline.stages.export import stage
from sightline.stages.export.formats import to_pt2
from tests.exported import CONFIG, INT8, Project

WITHOUT = dataclasses.replace(INT8, enabled=False)
DIGEST = """
import sys
from pathlib import Path
from sightline.core import files
from sightline.stages.export.formats import to_pt2
from sightline.models import saved_model
print(files.sha256(to_pt2(saved_model.load_model(Path(sys.argv[1]))[0], (12, 12, 1), 1.25)))
"""


@pytest.fixture(scope="module")
def bundle(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle in all formats."""
    output = tmp_path_factory.mktemp("formats") / "bundle"
    config = dataclasses.replace(CONFIG, formats=["pt2", "openvino"], int8=WITHOUT)
    outcome = stage.export(config, project.raw, project.processed, project.model, output, project.reports)
    assert set(outcome.seconds) == {"torch", "fp32", "pt2", "openvino"}
    assert outcome.bytes["openvino"] > (output / "model.bin").stat().st_size
    return output


def test_all_files_are_listed_and_the_bundle_predicts_as_ever(project: Project, bundle: Path) -> None:
    listed = json.loads((bundle / "manifest.json").read_text())["files"]
    assert {"model.pt2", "model.xml", "model.bin"} <= set(listed)
    (prediction,) = Bundle.load(bundle).predict(project.pictures[:1])
    (expected,) = Bundle.load(project.bundle).predict(project.pictures[:1])
    assert prediction == expected


def test_openvino_alone_gives_the_same_probabilities(project: Project, bundle: Path) -> None:
    import openvino

    pixels = ProcessedSet(project.processed).split("test").images(slice(0, 5))
    compiled = openvino.Core().compile_model(bundle / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(pixels)[0], Bundle.load(bundle).probabilities(pixels), atol=1e-5)


def test_pt2_is_the_same_bytes_elsewhere_and_holds_no_pickle_and_no_folder(
    project: Project, bundle: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    command = [sys.executable, "-c", DIGEST, str(project.model)]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == files.sha256_file(bundle / "model.pt2")
    with zipfile.ZipFile(bundle / "model.pt2") as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert b"stack_trace" not in content
            assert b"/sightline/" not in content
            if content.startswith(b"\x80"):  # a pickle's first byte; weights may have it as well
                with pytest.raises(ValueError, match=r"."):
                    list(pickletools.genops(content))


def test_a_further_format_has_to_prove_itself_too(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sightline.stages.export.formats.to_pt2", lambda classifier, shape, _: to_pt2(classifier, shape, 2.0)
    )
    config = dataclasses.replace(CONFIG, formats=["pt2"], int8=WITHOUT)
    with pytest.raises(UserError, match=r"model.pt2 differs from the trained one.*no bundle was written"):
        stage.export(config, project.raw, project.processed, project.model, tmp_path / "b", project.reports)
    assert not (tmp_path / "b").exists()


def test_a_missing_package_is_named_with_its_extra(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    config = dataclasses.replace(CONFIG, formats=["openvino"], int8=WITHOUT)
    with pytest.raises(UserError, match=r"export.formats: openvino .*pip install .*\[openvino\]'"):
        stage.export(config, project.raw, project.processed, project.model, tmp_path / "b", project.reports)


def test_an_unknown_format() -> None:
    with pytest.raises(ValueError, match="formats: 'tflite' is not one of openvino, pt2"):
        dataclasses.replace(CONFIG, formats=["tflite"])


def test_equal_networks_give_equal_bytes(project: Project) -> None:
    classifier, _ = saved_model.load_model(project.model)
    assert to_pt2(classifier, (12, 12, 1), 1.25) == to_pt2(classifier, (12, 12, 1), 1.25)
