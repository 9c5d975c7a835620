"""Batched inference on a Ray cluster: images are read here, decoded and computed on its nodes, answered in order.

A batch is the one that this machine would have computed, so that its answers have the same bits. Ray computes a batch
again whose worker or node has died.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sightline.core import clusters
from sightline.core.errors import UserError
from sightline.core.lookahead import map_ahead
from sightline.core.rejection import RejectionError
from sightline.predict.inference_model import Answer, Images, InferenceModel, open_model
from sightline.predict.inputs import Input

if TYPE_CHECKING:
    from sightline.predict.bundle import Bundle

BACKEND = "--backend ray"
LIBRARIES = ("numpy", "onnxruntime", "opencv-python-headless", "pillow", "pywavelets", "simplejpeg")
MAX_BYTES = 2**28
"""Encoded images in batches under way; one batch is under way in any case."""

Encoded = bytes | npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shipment:
    """The files that a node opens the network from; sent to each node once, and opened once by each of its processes.

    Attributes:
        form: The form of the network, of `manifest.MODELS`.
        parts: Files of the bundle, by name.
        version: Of the code and the libraries here, which a node must have too.
    """

    form: str
    parts: dict[str, bytes]
    version: str


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The answer of a node.

    Attributes:
        version: Of its code and libraries.
        answers: For each image the network's answer, or why it was refused; none where the version is another than
            was asked for.
    """

    version: str
    answers: list[Answer | RejectionError]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch under way.

    Attributes:
        inputs: With what was read of each, or why it could not be.
        owed: The reference to the answer; None where nothing could be read.
        size: Encoded bytes.
    """

    inputs: list[tuple[Input, Encoded | RejectionError]]
    owed: Any
    size: int


def answered_on_ray(
    bundle: Bundle, items: Iterable[Input], size: int, workers: int | None, address: str | None
) -> Iterator[tuple[Input, Answer | RejectionError]]:
    """Yields `items` in order, each with the network's answer or why it was refused; memory holds a few batches.

    Args:
        bundle: The model.
        items: Are read ahead.
        size: Images per run of the network.
        workers: Threads that read; None is one per core, 0 reads in this thread.
        address: The cluster's, as "host:6379", "ray://host:10001" or "auto"; None starts one on this machine.

    Raises:
        UserError: If Ray is not installed, the cluster cannot be reached, or its nodes have other software.
    """
    with clusters.ray_cluster(address, BACKEND, "leave out --address") as ray:
        version = software()
        # A node fetches what is put there once; in a list, a task gets the reference, not a copy of the content.
        shipped = [ray.put(Shipment(bundle.model, bundle.network_files(), version))]
        run = ray.remote(run_batch).options(num_cpus=1, max_retries=clusters.RETRIES)
        # Four for each CPU: those that wait behind one that is computed again leave no node idle.
        most = 4 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting: deque[Batch] = deque()
        with contextlib.closing(_encoded_inputs(items, workers)) as inputs:
            while batch := list(itertools.islice(inputs, size)):
                good = [data for _, data in batch if not isinstance(data, RejectionError)]
                owed = run.remote(shipped, good) if good else None
                waiting.append(Batch(batch, owed, sum(map(_bytes, good))))
                while len(waiting) >= most or sum(one.size for one in waiting) > MAX_BYTES:
                    yield from delivered(ray, waiting.popleft(), version)
            while waiting:
                yield from delivered(ray, waiting.popleft(), version)


def _encoded_inputs(
    items: Iterable[Input], workers: int | None
) -> Generator[tuple[Input, Encoded | RejectionError], None, None]:
    def attempt(item: Input) -> tuple[Input, Encoded | RejectionError]:
        try:
            return item, item.read()
        except RejectionError as refused:
            return item, refused

    threads = (os.cpu_count() or 1) if workers is None else workers
    if threads == 0:
        yield from map(attempt, items)
    else:
        yield from map_ahead(attempt, items, threads, 2 * threads)


def _bytes(data: Encoded) -> int:
    return len(data) if isinstance(data, bytes) else data.nbytes


def delivered(ray: Any, batch: Batch, version: str) -> Iterator[tuple[Input, Answer | RejectionError]]:
    """Waits for a batch's answers and yields them in the order of its inputs."""
    answers: Iterator[Answer | RejectionError] = iter(())
    if batch.owed is not None:
        answer: BatchAnswer = ray.get(batch.owed)
        if answer.version != version:
            raise UserError(
                f"{BACKEND}: a node has another version of Sightline, ONNX Runtime, OpenCV, NumPy, Pillow, simplejpeg "
                "or PyWavelets; install the same on all nodes"
            )
        answers = iter(answer.answers)
    for item, data in batch.inputs:
        yield item, data if isinstance(data, RejectionError) else next(answers)


# --- on a node -------------------------------------------------------------------------------------------------------


@functools.cache
def software() -> str:
    """Returns the version of the code that answers, and of the libraries that it calls."""
    return clusters.software_version("sightline.predict.inference_model", LIBRARIES)


class OpenedModel:
    """The model that a process of a node has opened last, for the batches that follow.

    Attributes:
        reference: The shipment, which it was opened from.
        version: Of the code and libraries here.
        model: None where that version is not the one asked for: its answers would be others, perhaps.
    """

    def __init__(self) -> None:
        self.reference = ""
        self.version = software()
        self.model: InferenceModel | None = None

    def open(self, reference: str, shipment: Shipment) -> None:
        """Opens another model in place of the one before."""
        self.reference, self.model = reference, None
        if self.version == shipment.version:
            parts = shipment.parts
            self.model = open_model(Path("the bundle"), shipment.form, threads=1, read=parts.__getitem__)

    def answers(self, images: list[Encoded]) -> list[Answer | RejectionError]:
        """Returns for each image the answer, or why it was refused; nothing where there is no model."""
        model = self.model
        if model is None:
            return []
        prepared = [_prepared(model, data) for data in images]
        arrays = [array for array in prepared if not isinstance(array, RejectionError)]
        computed = iter(model.answers(np.stack(arrays)) if arrays else ())
        return [array if isinstance(array, RejectionError) else next(computed) for array in prepared]


def _prepared(model: InferenceModel, data: Encoded) -> Images | RejectionError:
    try:
        return model.prepare(data)
    except RejectionError as refused:
        return refused


@functools.cache
def _opened() -> OpenedModel:
    return OpenedModel()


def run_batch(shipped: list[Any], images: list[Encoded]) -> BatchAnswer:
    """Decodes and computes a batch.

    Args:
        shipped: The reference to the shipment.
        images: Encoded, or pixels [h, w, 1 or 3] uint8.
    """
    opened, (reference,) = _opened(), shipped
    if opened.reference != reference.hex():
        import cv2
        import ray

        cv2.setNumThreads(1)  # a CPU is what the task was given
        opened.open(reference.hex(), ray.get(reference))
    return BatchAnswer(opened.version, opened.answers(images))
