"""Dockerfile and compose.yaml, as far as can be told without an engine: there is none to build them here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightline.core.errors import DISTRIBUTION

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return content


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their arguments."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).strip().splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def test_services_are_reachable_from_this_machine_alone(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"server", "mlflow", "mongodb"}
    for service in compose["services"].values():
        assert all(str(port).startswith("127.0.0.1:") for port in service["ports"])


def test_secrets_come_from_the_environment_and_must_be_there(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("KEY|PASSWORD", name):
                assert re.fullmatch(r"\$\{\w+:\?.+\}", value)
    named = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    example = dict(line.split("=") for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line)
    assert set(example) == named
    assert not any(example.values())


def test_volumes_and_targets_are_there(compose: dict[str, Any], instructions: list[tuple[str, str]]) -> None:
    stages = {rest.rpartition(" AS ")[2] for word, rest in instructions if word == "FROM"}
    for service in compose["services"].values():
        assert ("image" in service) != ("build" in service)
        if "build" in service:
            assert service["build"]["target"] in stages
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source.startswith("./") or source in compose["volumes"]


def test_images_run_without_rights_and_copy_what_there_is(instructions: list[tuple[str, str]]) -> None:
    assert instructions[0][0] == "FROM"
    for stage in ("mlflow", "server"):
        start = next(
            i for i, (word, rest) in enumerate(instructions) if word == "FROM" and rest.endswith(f" AS {stage}")
        )
        end = next((i for i in range(start + 1, len(instructions)) if instructions[i][0] == "FROM"), len(instructions))
        assert [rest for word, rest in instructions[start:end] if word == "USER"] == ["10001:10001"]
    ignored = (ROOT / ".dockerignore").read_text().split()
    for word, rest in instructions:
        if word == "COPY" and not rest.startswith("--from"):
            for name in rest.split()[:-1]:
                assert (ROOT / name).exists(), name
                assert f"!{name.removeprefix('./')}" in ignored


def test_what_the_wheel_holds_is_copied_before_it_is_built(instructions: list[tuple[str, str]]) -> None:
    """Hatchling ends with "Forced include not found" where a file of the wheel is not in the image."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    start = next(i for i, (word, rest) in enumerate(instructions) if word == "FROM" and rest.endswith(" AS build"))
    end = next(i for i, (word, rest) in enumerate(instructions) if word == "RUN" and i > start)
    copied = {name for word, rest in instructions[start:end] if word == "COPY" for name in rest.split()[:-1]}
    wanted = {*build["force-include"], *(package.partition("/")[0] for package in build["packages"])}
    assert wanted
    assert wanted <= copied


def test_what_is_installed_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["predict"], *extras["serve"], "mlflow"]
    names = {re.split(r"[\s<>=!\[]", one)[0].lower() for one in wanted} - {DISTRIBUTION}
    locked = set(re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert names <= locked
