"""Sources of a run's predictions for the test split, the validation split, or both: a folder, a commit, MLflow.

Display names identify the model, however the user referred to the run: `cnn lr=0.002 (HEAD~1)`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline.compare.known_settings import commit_settings, is_evaluated, model_settings
from sightline.compare.run_predictions import RunPredictions, read_run, require_same
from sightline.core import git
from sightline.core.errors import UserError
from sightline.runs import run_difference

TEST, VALIDATION = "test", "validation"
FILES = {TEST: "predictions.parquet", VALIDATION: "val_predictions.parquet"}
"""The file with the predictions for each split; the preferred split comes first."""


class RunSource(ABC):
    """A run that has predictions.

    Attributes:
        name: The model's display name.
        about: (name, value) of known facts about it.
        settings: Flat settings, `train.lr` and so on, as far as they are known.
    """

    name: str
    about: list[tuple[str, str]]
    settings: Mapping[str, str]

    @abstractmethod
    def splits(self) -> list[str]:
        """Returns the splits that it has predictions for."""

    @abstractmethod
    def read(self, split: str) -> RunPredictions:
        """Returns its predictions for one of these."""


@dataclass(frozen=True)
class RunPair:
    """Two runs to compare.

    Attributes:
        a: The first's predictions.
        b: The second's.
        split: Their split: "test" or "validation".
        settings: (setting, value of the first, value of the second) for settings that differ.
        settings_known: Whether the settings of both are known.
    """

    a: RunPredictions
    b: RunPredictions
    split: str
    settings: list[tuple[str, str, str]]
    settings_known: bool


def load_pair(first: str, second: str) -> RunPair:
    """Finds two runs, and reads their predictions of a split that both have.

    Raises:
        UserError: If one cannot be found, they have no split in common, or their images differ.
    """
    one, other = open_run(first), open_run(second)
    if one.name == other.name:
        one.name, other.name = f"{one.name} ({first})", f"{other.name} ({second})"
    split = common_split(one, other)
    a, b = one.read(split), other.read(split)
    require_same(a, b)
    if b.named and not a.named:
        a = dataclasses.replace(a, classes=b.classes)
    known = bool(one.settings and other.settings)
    return RunPair(a, b, split, run_difference.differing_settings(one.settings, other.settings) if known else [], known)


def open_run(reference: str) -> RunSource:
    """Finds a run.

    Args:
        reference: A folder with predictions, itself or in its `reports/`; a commit of this project, such as `HEAD~1`;
            or whatever `tracking.find_run` accepts: a run's id or name, `models:/name@alias`, `models:/name/version`.

    Raises:
        UserError: If there is no such run, or it has no predictions.
    """
    if Path(reference).is_dir():
        return FolderRun(Path(reference))
    if commit := _commit(reference):
        return CommitRun(reference, commit)
    return MlflowRun(reference)


def common_split(a: RunSource, b: RunSource) -> str:
    """Returns the split on which to compare two runs: the test split if both have predictions for it.

    Raises:
        UserError: If there is none.
    """
    first, second = a.splits(), b.splits()
    for split in FILES:
        if split in first and split in second:
            return split
    raise UserError(
        f"{a.name} has predictions for the {first[0]} split, {b.name} for the {second[0]} split: name the run of a "
        "training, which has predictions for the validation split (sightline runs lists them), or evaluate both"
    )


class FolderRun(RunSource):
    """The reports of a checkout, or a folder written by the Python functions.

    Args:
        folder: The folder, or its `reports/`.

    Raises:
        UserError: If there are no predictions, or a project's reports belong to another model than its current one.
    """

    def __init__(self, folder: Path) -> None:
        places = (folder, folder / "reports")
        self._files = {s: p / name for s, name in FILES.items() for p in reversed(places) if (p / name).is_file()}
        if not self._files:
            raise UserError(f"{folder}: no {FILES[TEST]} in this folder or its reports/; run the evaluate stage")
        root = folder.resolve().parent if folder.resolve().name == "reports" else folder.resolve()
        info = next((p for p in (root / "models/model.json", root / "model.json") if p.is_file()), None)
        if info is not None and not is_evaluated(root, info):
            raise UserError(f"{folder}: its reports belong to another model than {info}: dvc repro evaluate")
        self.settings = model_settings(json.loads(info.read_bytes()), root) if info else {}
        self.name = _called(self.settings, root.name)
        self.about = [("folder", str(root))]

    def splits(self) -> list[str]:
        return list(self._files)

    def read(self, split: str) -> RunPredictions:
        return read_run(self._files[split], self.name, self.about)


class CommitRun(RunSource):
    """A commit: the predictions in its `dvc.lock`, from DVC's cache or remote.

    Args:
        reference: The commit as the user gave it.
        commit: Its full hash.
    """

    def __init__(self, reference: str, commit: str) -> None:
        self.settings = commit_settings(commit)
        self.name = _called(self.settings, reference)
        self.about = [("commit", commit)]
        self._reference = reference
        self._commit_id = commit

    def splits(self) -> list[str]:
        return [TEST]

    def read(self, split: str) -> RunPredictions:
        from dvc import api
        from dvc.exceptions import DvcException

        wanted = f"reports/{FILES[split]}"
        try:
            with api.open(wanted, rev=self._commit_id, mode="rb") as stream:
                content = stream.read()
        except (DvcException, OSError) as error:
            raise UserError(
                f"{self._reference}: {wanted} of that commit is neither in DVC's cache nor in a remote "
                f"({' '.join(str(error).split())[:120]}); dvc repro there makes it: git worktree add ../other "
                f"{self._reference}, then sightline compare . ../other"
            ) from None
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / FILES[split]
            path.write_bytes(content)
            return read_run(path, self.name, self.about)


class MlflowRun(RunSource):
    """A run in MLflow.

    Args:
        reference: A run, in any form that `tracking.find_run` accepts.

    Raises:
        UserError: If there is none.
    """

    def __init__(self, reference: str) -> None:
        from sightline import tracking

        self._reference = reference
        self._run = run = tracking.find_run(reference)
        known = reference in (run.name, run.id)
        self.name = run.name if known else f"{run.name} ({reference})"
        self.about = [("run", run.id), *run.about]
        with self._fetched("config/train.json", "config/baseline.json") as path:
            self.settings = dict(json.loads(path.read_bytes())) if path else run.params
        self._names = dict(FILES)
        if method := run.tags.get(tracking.BASELINE_TAG):
            self._names[TEST] = f"{method}.parquet"

    def splits(self) -> list[str]:
        found = []
        for split, name in self._names.items():
            with self._fetched(name) as path:
                if path:
                    found.append(split)
        if not found:
            raise UserError(
                f"{self._reference}: the run {self._run.id} has no {FILES[TEST]}: run the evaluate stage on its model"
            )
        return found

    def read(self, split: str) -> RunPredictions:
        with self._fetched(self._names[split]) as path:
            if path is None:
                raise UserError(f"{self._reference}: the run {self._run.id} has no {self._names[split]}")
            return read_run(path, self.name, self.about)

    @contextlib.contextmanager
    def _fetched(self, *artifacts: str) -> Iterator[Path | None]:
        """Yields a copy of the first of these artifacts that the run has, or None."""
        from sightline import tracking

        with tempfile.TemporaryDirectory() as temporary:
            copies = (tracking.download(self._run.id, artifact, Path(temporary)) for artifact in artifacts)
            yield next((copy for copy in copies if copy), None)


def _called(settings: Mapping[str, str], reference: str) -> str:
    """Returns a model's display name: network, learning rate and reference."""
    model = settings.get("train.model.name")
    return f"{model} lr={float(settings['train.lr']):g} ({reference})" if model else reference


def _commit(reference: str) -> str | None:
    """Returns the full hash of a commit in the current repository; None if it is not a commit."""
    return git.answer("rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
