"""Batched inference on a Ray cluster: this machine reads images, the nodes decode and predict them, in order.

The batches are the same as on a single machine, so that the results have the same bits. If a worker or a node dies,
Ray computes its batches again.
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
"""Maximum number of encoded bytes in pending batches; one batch may always be pending."""

Encoded = bytes | npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shipment:
    """The files that a node loads the network from; sent once to each node, and loaded once by each of its processes.

    Attributes:
        form: The form of the network, a key of `manifest.MODELS`.
        parts: Files of the bundle, by name.
        version: Version of the code and the libraries on this machine, which nodes must have too.
    """

    form: str
    parts: dict[str, bytes]
    version: str


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """A node's results for a batch.

    Attributes:
        version: Version of its code and libraries.
        answers: The network's answer or the rejection of each image; empty if the version is not the required one.
    """

    version: str
    answers: list[Answer | RejectionError]


@dataclass(frozen=True, slots=True)
class Batch:
    """A pending batch.

    Attributes:
        inputs: The inputs, each with its content, or its rejection if it could not be read.
        owed: The reference to the `BatchAnswer`; None if no input could be read.
        size: Number of encoded bytes.
    """

    inputs: list[tuple[Input, Encoded | RejectionError]]
    owed: Any
    size: int


def answered_on_ray(
    bundle: Bundle, items: Iterable[Input], size: int, workers: int | None, address: str | None
) -> Iterator[tuple[Input, Answer | RejectionError]]:
    """Yields `items` in order, each with the network's answer or its rejection; memory holds a few batches.

    Args:
        bundle: The model.
        items: The inputs, which are read ahead.
        size: Images per run of the network.
        workers: Number of reading threads; None means one per core, 0 reads in this thread.
        address: The cluster's address, such as "host:6379", "ray://host:10001" or "auto"; None starts a cluster on
            this machine.

    Raises:
        UserError: If Ray is not installed, the cluster cannot be reached, or its nodes have other software.
    """
    with clusters.ray_cluster(address, BACKEND, "leave out --address") as ray:
        version = software()
        # A node fetches a stored object only once. The list makes Ray pass the reference rather than the content.
        shipped = [ray.put(Shipment(bundle.model, bundle.network_files(), version))]
        run = ray.remote(run_batch).options(num_cpus=1, max_retries=clusters.RETRIES)
        # Four per CPU, so that no node is idle while the oldest batch is computed again.
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
    """Waits for the answers to a batch and yields them in the order of its inputs."""
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
    """Returns the version of the inference code and of the libraries that it uses."""
    return clusters.software_version("sightline.predict.inference_model", LIBRARIES)


class OpenedModel:
    """The model that a process of a node has loaded last, kept for subsequent batches.

    Attributes:
        reference: The reference to the shipment that it was loaded from, in hexadecimal.
        version: Version of the code and libraries on this node.
        model: The model; None if that version is not the required one, since results might differ.
    """

    def __init__(self) -> None:
        self.reference = ""
        self.version = software()
        self.model: InferenceModel | None = None

    def open(self, reference: str, shipment: Shipment) -> None:
        """Replaces the loaded model with the one in a shipment."""
        self.reference, self.model = reference, None
        if self.version == shipment.version:
            parts = shipment.parts
            self.model = open_model(Path("the bundle"), shipment.form, threads=1, read=parts.__getitem__)

    def answers(self, images: list[Encoded]) -> list[Answer | RejectionError]:
        """Returns each image's answer or rejection; empty if there is no model."""
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
    """Decodes and predicts a batch.

    Args:
        shipped: A list of one item, the reference to the shipment.
        images: Encoded images, or pixels [h, w, 1 or 3] uint8.
    """
    opened, (reference,) = _opened(), shipped
    if opened.reference != reference.hex():
        import cv2
        import ray

        cv2.setNumThreads(1)  # the task was assigned one CPU
        opened.open(reference.hex(), ray.get(reference))
    return BatchAnswer(opened.version, opened.answers(images))
