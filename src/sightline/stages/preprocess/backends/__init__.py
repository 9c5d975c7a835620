"""Backends of preprocessing, which run its tasks. All of them give the same pixels, bit for bit."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import Option, Registry

if TYPE_CHECKING:
    from sightline.stages.preprocess.tasks import Executor


@dataclass
class Backend(Option):
    """Base of the backends."""

    def open(self, expected: int) -> contextlib.AbstractContextManager[Executor]:
        """Returns a context manager whose value runs tasks.

        Args:
            expected: Estimated number of tasks, before the raw set is read.
        """
        raise NotImplementedError


BACKEND: Registry[Backend] = Registry("preprocess/backend", modules="sightline.stages.preprocess.backends.*")
