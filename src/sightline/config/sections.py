"""The sections of the configuration and their schemas, checked together."""

from __future__ import annotations

from omegaconf import DictConfig

from sightline.config.compose import typed
from sightline.promote.config import PromoteConfig
from sightline.stages.baseline.config import BaselineConfig
from sightline.stages.evaluate.config import EvaluateConfig
from sightline.stages.export.config import ExportConfig
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.preprocess.config import PreprocessConfig
from sightline.stages.train.config import TrainConfig

SECTIONS = {
    "ingest": IngestConfig,
    "preprocess": PreprocessConfig,
    "baseline": BaselineConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "export": ExportConfig,
    "promote": PromoteConfig,
}


def check(config: DictConfig) -> None:
    """Checks the sections of all stages.

    Raises:
        ConfigError: For the first fault.
    """
    for stage, schema in SECTIONS.items():
        typed(schema, config[stage], stage)
