"""Evidence that others rely on: licences of what is installed, and the tests that documents name as their evidence."""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sightline.core.errors import DISTRIBUTION

ROOT = Path(__file__).parents[1]
EVIDENCE = re.compile(r"`(tests/[\w./]+\.py(?:::\w+)*)`")

GPL_FAMILY = {
    "asyncssh": "EPL-2.0 can be chosen",
    "dulwich": "Apache-2.0 can be chosen",
    "grandalf": "EPL-1.0 can be chosen",
    "pygit2": "linking exception",
    "psycopg": "LGPL: imported unchanged",
    "psycopg-binary": "LGPL: imported unchanged",
}
UNSAID = {"cuda-toolkit": "a list of other packages, without files", "huey": "MIT", "sigstore-models": "MIT"}
"""Licences as the files have them, where the metadata say nothing."""
NOT_LOCKED = {"dvc-azure", "dvc-gs", "dvc-ssh", "gcsfs"}
"""Of extras that the lock does not hold."""


def closure(extras: set[str]) -> tuple[set[str], set[str]]:
    """Returns the packages that these extras install on this machine, and those of them that are not here."""
    todo = [(DISTRIBUTION, extra) for extra in {"", *extras}]
    seen: set[tuple[str, str]] = set()
    absent: set[str] = set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            wanted = [Requirement(line) for line in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            absent.add(name)
            continue
        for requirement in wanted:
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(requirement.name), each) for each in {"", *requirement.extras}]
    return {name for name, _ in seen} - absent, absent


def licence(name: str) -> str:
    """Returns what a package's metadata say of its licence, "" if nothing; of a whole text, its head."""
    fields = metadata.metadata(name)
    classifiers = [line for line in fields.get_all("Classifier") or [] if line.startswith("License")]
    declared = [fields.get("License-Expression"), (fields.get("License") or "")[:200], *classifiers]
    return " ".join(part for part in declared if part).strip()


def test_no_package_is_under_a_licence_that_reaches_the_program() -> None:
    extras = set(metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []) - {"dev"}
    here, absent = closure(extras)
    assert {"torch", "dvc", "mlflow", "psycopg"} <= here
    assert absent <= NOT_LOCKED
    licences = {name: licence(name) for name in here}
    family = {name for name, text in licences.items() if re.search(r"GPL|General Public", text, re.IGNORECASE)}
    assert family <= GPL_FAMILY.keys(), {name: licences[name] for name in family - GPL_FAMILY.keys()}
    undeclared = {name for name, text in licences.items() if not text}
    assert undeclared <= UNSAID.keys()


def test_what_predicts_and_serves_has_nothing_of_the_gpl_family() -> None:
    here, _ = closure({"predict", "serve"})
    assert not here & GPL_FAMILY.keys()


def names_of(path: Path) -> set[str]:
    """Returns the tests of a file: `test_x`, and `TestY::test_x` of a class."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("document", ["SECURITY.md", "docs/ml_test_score.md"])
def test_each_test_that_is_named_as_evidence_exists(document: str) -> None:
    named = EVIDENCE.findall((ROOT / document).read_text())
    assert len(named) > 20
    for reference in named:
        file, _, test = reference.partition("::")
        assert (ROOT / file).is_file(), reference
        assert not test or test in names_of(ROOT / file), reference


@pytest.mark.parametrize(("document", "columns"), [("SECURITY.md", 2), ("docs/ml_test_score.md", 4)])
def test_each_row_has_its_evidence_or_says_that_there_is_none(document: str, columns: int) -> None:
    for row in rows(document, columns):
        assert EVIDENCE.search(row[-1]) or row[1] in ("by hand", "not met"), row


def rows(document: str, columns: int) -> list[list[str]]:
    """Returns the cells of a document's tables, without headers."""
    lines = [line for line in (ROOT / document).read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    found = [row for row in cells if not row[0].startswith("---") and row[-1] not in ("held by", "evidence")]
    assert all(len(row) == columns for row in found)
    return found


def test_the_ml_test_score_is_that_of_its_rows() -> None:
    points = {"met": 1.0, "partly": 0.5, "by hand": 0.5, "not met": 0.0}
    sections = {"Data": 0.0, "Model": 0.0, "Infrastructure": 0.0, "Monitoring": 0.0}
    items = rows("docs/ml_test_score.md", 4)
    assert [row[0].split()[1] for row in items] == [str(number) for _ in sections for number in range(1, 8)]
    for item, status, *_ in items:
        sections[item.split()[0]] += points[status]
    text = (ROOT / "docs/ml_test_score.md").read_text()
    summary = ", ".join(f"{name.lower()} {score:g}" for name, score in sections.items())
    assert f"{summary}: the score is {min(sections.values()):g}." in " ".join(text.split())
