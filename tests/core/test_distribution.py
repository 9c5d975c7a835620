"""The package as others get it: by its own name, with code that is nobody else's, and without what is secret."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from sightline.core import errors
from sightline.core.errors import DISTRIBUTION, how_to_install, not_installed

ROOT = Path(__file__).parents[2]
REASONS = ROOT / "docs/decisions/0032-a-name-of-our-own.md"  # quotes what it was before
STRANGER = re.compile(
    r"""(?<![\w.-])sightline(?:\[|\s*[=~>]=)|requirements=\[["']sightline["']"""  # a requirement
    r"""|\binstall(?=\s)[^\n`]*?[\s"']sightline(?=["'`\s;,.]|$)"""  # an install line
    r"""|(?:version|distribution|requires)\(["']sightline["']\)"""
)

OURS_BY_NAME = re.compile(r"""\binstall(?=\s)[^\n`]*?[\s"']sightline-vision(?=[\["'`\s;,]|$)""")
"""An install line that asks a registry, which does not have it."""


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name]


@pytest.mark.parametrize(
    "line",
    ['pip install "sightline[predict]"', "sightline==0.1", "pip install sightline", "version('sightline')",
     "install sightline[zstd]", "uv pip install -U sightline"],
)  # fmt: skip
def test_the_pattern_finds_what_it_looks_for(line: str) -> None:
    assert STRANGER.search(line)
    assert not STRANGER.search(line.replace("sightline", "sightline-vision"))


def test_nothing_installs_the_package_of_that_name_that_is_not_ours() -> None:
    found = []
    for path in tracked():
        if path in (Path(__file__), REASONS) or path.suffix == ".lock" or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "ignore")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in STRANGER.finditer(text)]
    assert found == []


def test_nothing_installs_ours_from_where_it_is_not() -> None:
    assert OURS_BY_NAME.search('pip install "sightline-vision[predict]"')
    read = [path for path in tracked() if path.suffix in (".md", ".py", ".yaml", ".yml", ".ipynb", ".j2", ".html")]
    texts = {path: path.read_text() for path in read if "tests" not in path.parts and path.is_file()}
    assert [str(path) for path, text in texts.items() if OURS_BY_NAME.search(text)] == []


def test_the_extras_refer_to_the_package_by_its_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION
    asked = [line for extra in project["optional-dependencies"].values() for line in extra if "sightline" in line]
    assert asked
    for line in asked:
        name, _, extras = line.rstrip("]").partition("[")
        assert name == DISTRIBUTION
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


class Installed:
    def __init__(self, origin: dict[str, Any] | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)


def test_the_remedy_is_what_was_installed_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone, wheel = tmp_path / "a clone", tmp_path / "sightline_vision-0.1.0-py3-none-any.whl"
    clone.mkdir()
    wheel.touch()

    def output_of(origin: dict[str, Any] | None) -> str:
        monkeypatch.setattr(metadata, "distribution", lambda _: Installed(origin))
        return how_to_install("predict")

    assert shlex.split(output_of({"url": wheel.as_uri()})) == ["pip", "install", f"{wheel}[predict]"]
    assert shlex.split(output_of({"url": clone.as_uri()})) == ["pip", "install", f"{clone}[predict]"]
    edited = {"url": clone.as_uri(), "dir_info": {"editable": True}}
    assert shlex.split(output_of(edited)) == ["pip", "install", "-e", f"{clone}[predict]"]
    monkeypatch.chdir(clone)
    assert output_of(edited) == "pip install -e '.[predict]'"
    elsewhere = "pip install '.[predict]' in a clone of Sightline"
    for origin in (None, {"url": "https://host/x.whl"}, {"url": (tmp_path / "gone").as_uri()}):
        assert output_of(origin) == elsewhere

    def absent(name: str) -> Installed:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    assert str(not_installed("onnxruntime", "predict")) == f"onnxruntime is not installed: {elsewhere}"


def test_it_is_installed_by_that_name() -> None:
    assert metadata.version(DISTRIBUTION) == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    code = "from sightline.cli import app; app(['--version'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"sightline {metadata.version(DISTRIBUTION)}\n"
    assert errors.__name__ == "sightline.core.errors"


@pytest.mark.parametrize(
    "name",
    ["key.pem", "keys/key.pem", "server.key", "id.p12", "models/bundle.sig", "signed/bundle.sig", "images.db",
     "images.db-journal", "labels.csv", "features.parquet", "tasks.json", "decided.json", "compare.html",
     "compare2.html", "diff.html", "drift.html", "models/extended/model.onnx", "reports/sweeps/lr.html", ".env"],
)  # fmt: skip
def test_git_ignores_what_is_secret_and_what_the_documentation_has_one_write(name: str) -> None:
    done = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", name], cwd=ROOT, check=False)
    assert done.returncode == 0, f"git would add {name}"


def test_the_documentation_keeps_keys_outside_the_project() -> None:
    text = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    keys = re.findall(r"\s(?:--key|-out|-in) ([^\s`]+)", text)
    assert len(keys) > 3
    assert [name for name in keys if not name.startswith("~/")] == []
