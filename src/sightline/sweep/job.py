"""Jobs of a sweep: changes to params.yaml, identified by a digest of everything that the result depends on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sightline.config import option_settings, sections
from sightline.config.compose import saved_overrides, typed
from sightline.config.location import conf_folder, scripts_folder
from sightline.config.params import PARAMS, parse_yaml
from sightline.core import files
from sightline.core.code_digest import CodeDigests
from sightline.core.errors import fault
from sightline.datasets.data_settings import flat_params
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.watch.fingerprint import WatchedWeights, source_fingerprint, weights_fingerprint
from sightline.sweep import params_edit
from sightline.sweep.extent import SweepExtent
from sightline.sweep.job_composer import JobComposer
from sightline.sweep.search_space import DATA, is_of_data


@dataclass(frozen=True)
class SweepJob:
    """A job.

    Attributes:
        words: Its changes to params.yaml, in command-line form.
        params: The text of its params.yaml.
        config: Its composed configuration.
        digest: Digest of everything that its result depends on.
        data: Digest of everything that its images depend on.
        data_params: The text of params.yaml with only those changes that affect the images.
        weights: Fingerprint of the weights that training starts from, as `watch` writes it to `data/weights.json`.
        training: Digest of everything that its network depends on; equal to `digest` if no later stage runs.
    """

    words: tuple[str, ...]
    params: str
    config: DictConfig
    digest: str
    data: str
    data_params: str
    weights: Mapping[str, Any] = field(default_factory=dict)
    training: str = ""


@dataclass(frozen=True)
class JobTask:
    """A job with everything that its executor needs.

    Attributes:
        job: The job.
        slot: The folder that contains its images, in which it trains.
        output: The folder for the model.
        answers: The file for its predictions on the validation images.
        log: The file for its output.
        tags: Tags of its run in MLflow.
        measure_latency: Whether to measure the latency of a prediction.
        runs: MLflow's tracking URI if it is a file; None if the environment determines it.
        trial: Target of metric reports for pruning: (storage file or "", study, trial, pruner, metric); None without a
            pruner. The URL of a database comes from the environment, so that no password is stored here.
    """

    job: SweepJob
    slot: Path
    output: Path
    answers: Path
    log: Path
    tags: dict[str, str]
    measure_latency: bool
    runs: str | None
    trial: tuple[str, str, int, str, str] | None


@dataclass(frozen=True)
class JobOutcome:
    """The outcome of a job.

    Attributes:
        state: "complete", "pruned", "failed", or "stopped" if the next start resumes it.
        result: Metrics of the best epoch, megabytes, seconds; empty unless it is complete.
        reason: Reason of a failure, one line.
        known: Whether the result comes from another sweep of the project.
    """

    state: str
    result: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    known: bool = False

    @staticmethod
    def failed(error: BaseException) -> JobOutcome:
        """Returns the outcome of a job that raised an error."""
        mendable = fault(error)
        reason = str(mendable) if mendable else f"{type(error).__name__}: {error}"
        return JobOutcome("failed", reason=" ".join(reason.split())[:500])


class JobFactory:
    """Creates jobs from their changes to the current params.yaml.

    Args:
        extent: The extent of the jobs.
    """

    def __init__(self, extent: SweepExtent | None = None) -> None:
        self.extent = extent or SweepExtent()
        self._conf = conf_folder()
        self._composer = JobComposer(self._conf)
        self._text = PARAMS.read_text(encoding="utf-8")
        code = CodeDigests(scripts=scripts_folder())
        self._code = code.digest(*SweepExtent().scripts)
        self._code_of_later = code.digest(*self.extent.scripts) if self.extent.later else ""
        self._sources: dict[str, Any] = {}
        self._texts: dict[tuple[str, ...], str] = {}
        self._made: dict[tuple[str, ...], SweepJob] = {}

    def job(self, words: Sequence[str]) -> SweepJob:
        """Returns a job.

        Args:
            words: Its changes, as Hydra overrides.

        Raises:
            UserError: If its configuration is invalid, or its source cannot be reached.
        """
        key = tuple(words)
        if key not in self._made:
            self._made[key] = self._make(words)
        return self._made[key]

    def _make(self, words: Sequence[str]) -> SweepJob:
        params = params_edit.changed(self._text, words)
        config = self._composer.compose(saved_overrides(parse_yaml(params) or {}, self._conf))
        sections.check(config)
        flat = flat_params(config)
        images = {**_in_sections(flat, DATA), "source": self._source(config), "code": self._code}
        weights = weights_fingerprint(WatchedWeights.of(config), self._source(config))
        training = _digest({**images, **_in_sections(flat, ("train",)), "weights": weights})
        everything = {**images, **_in_sections(flat, self.extent.sections), "weights": weights}
        everything |= {"later": self._code_of_later}
        return SweepJob(
            words=tuple(_written(word, self._conf) for word in words),
            params=params,
            config=config,
            digest=_digest(everything) if self.extent.later else training,
            data=_digest(images),
            data_params=self._data_params(tuple(word for word in words if is_of_data(word))),
            weights=weights,
            training=training,
        )

    def _data_params(self, words: tuple[str, ...]) -> str:
        if words not in self._texts:
            self._texts[words] = params_edit.changed(self._text, words)
        return self._texts[words]

    def _source(self, config: DictConfig) -> Any:
        key = files.canonical_json(OmegaConf.to_container(config.ingest, resolve=True))
        if key not in self._sources:
            self._sources[key] = source_fingerprint(typed(IngestConfig, config.ingest, "ingest"))
        return self._sources[key]


def _in_sections(flat: Mapping[str, str], sections: Collection[str]) -> dict[str, str]:
    """Returns the settings of some sections, from a configuration that is flattened only once because that is slow."""
    return {key: value for key, value in flat.items() if key.split(".")[0] in sections}


def _written(word: str, conf: Path) -> str:
    """Returns a change in command-line form: `train.model=cnn` for `train/model=cnn`."""
    key, equals, value = option_settings.written_word(word, conf).partition("=")
    return f"{key.replace('/', '.')}{equals}{value}"


def _digest(content: dict[str, Any]) -> str:
    return files.sha256(files.canonical_json(content).encode())[:16]
