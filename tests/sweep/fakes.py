"""A sweep without trainings: fake jobs without composed configurations, fake places and fake slots."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from sightline.config.compose import compose, read_params, saved_overrides, typed
from sightline.core import files
from sightline.sweep import executors
from sightline.sweep.config import SweepConfig
from sightline.sweep.engine import SweepEngine
from sightline.sweep.job import JobOutcome, JobTask, SweepJob
from sightline.sweep.search_space import read_words
from sightline.sweep.study import SweepStudy
from sightline.sweep.study_storage import open_storage, study_location

Answer = Callable[[JobTask], JobOutcome]


def by_rate(task: JobTask) -> JobOutcome:
    """Returns an outcome whose loss is the job's learning rate, or a failure if that is above 1."""
    lr = float(task.job.config.train.lr)
    if lr > 1:
        return JobOutcome("failed", reason="training diverged")
    return JobOutcome("complete", {"val_loss": lr, "val_accuracy": 1 - lr, "megabytes": 1 + lr, "seconds": 1.0})


class FakePlace:
    def __init__(self, answer: Answer, ran: list[float]) -> None:
        self._answer, self._ran = answer, ran
        self.stopped = threading.Event()

    def run(self, task: JobTask) -> JobOutcome:
        self._ran.append(float(task.job.config.train.lr))
        return self._answer(task)

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        pass


class FakeSlots:
    stopping = False

    def __init__(self) -> None:
        self.prepared: list[str] = []

    def folder(self, job: SweepJob) -> Path:
        return Path("slot", job.data)

    def prepare(self, job: SweepJob) -> bool:
        self.prepared.append(job.data)
        return True

    def stop(self) -> None:
        self.stopping = True


class FakeFactory:
    """Makes jobs that have only a learning rate."""

    def job(self, words: list[str]) -> SweepJob:
        values = dict(word.lstrip("+").split("=") for word in words)
        config = OmegaConf.create({"train": {"lr": float(values["train.lr"]), "max_epochs": 3}})
        digest = files.sha256(repr(sorted((key, float(value)) for key, value in values.items())).encode())[:16]
        return SweepJob(tuple(words), "", config, digest, "data", "")


def start(
    monkeypatch: pytest.MonkeyPatch, *words: str, name: str = "one", answer: Answer = by_rate
) -> tuple[SweepEngine, list[float]]:
    """Runs a sweep or the rest of one; returns its engine and the learning rates of the jobs that ran."""
    ran: list[float] = []
    monkeypatch.setattr(executors, "places", lambda _, jobs: [FakePlace(answer, ran) for _ in range(jobs)])
    engine, _ = make(name, *words)
    engine.plan()
    engine.run()
    return engine, ran


def make(name: str, *words: str, first: dict[str, Any] | None = None) -> tuple[SweepEngine, SweepStudy]:
    params = read_params()
    space = read_words(words)
    settings = typed(SweepConfig, compose([*saved_overrides(params), *space.settings])["sweep"], "sweep")
    grid = settings.sampler in ("auto", "grid") and space.is_grid
    sampler = "grid" if grid else settings.sampler
    study = SweepStudy(
        open_storage(study_location()), name, settings.named or ["val_loss"], space.distributions(not grid), sampler, 0
    )
    fakes: Any = (FakeFactory(), FakeSlots())
    engine = SweepEngine(study, study_location(), space, settings, grid, *fakes, dict.fromkeys, first=first)
    return engine, study
