"""Cache of the features that a frozen network computes for images.

The cache is in `.sightline/features/`, with one file per network. Its keys are digests of the images' pixels, so other
stages, other splits and a dataset that has grown compute the features of new images only.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sightline.core import files
from sightline.core.code_digest import CodeDigests
from sightline.core.progress import track
from sightline.models.classifier import Classifier

Images = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]

FOLDER = files.STATE / "features"
BATCH = 64
"""Images per forward pass. Smaller batches are padded, because the batch size affects the last bits of the result."""
DAYS_KEPT = 30
_DIGITS = 64  # of a SHA-256 in hexadecimal


class FrozenFeatures:
    """Embeddings of images (the inputs of a network's head), cached or computed.

    Args:
        classifier: The network, which is put into evaluation mode. Its head is not used.
        device: The device to compute on; None for the CPU.

    Attributes:
        computed: Number of images that were not in the cache.
    """

    def __init__(self, classifier: Classifier, device: torch.device | None = None) -> None:
        self._classifier = classifier.eval()
        self._device = device or torch.device("cpu")
        self._path = FOLDER / f"{self._key()}.bin"
        self._rows: dict[bytes, Features] = {}
        self.computed = 0
        self._read()

    def __call__(self, batches: Iterable[Images], count: int) -> Features:
        """Returns the embeddings [n, D] of `count` images, given as batches [m, H, W, C] of any size m."""
        self._classifier.to(self._device).eval()
        order: list[bytes] = []
        waiting: dict[bytes, npt.NDArray[np.uint8]] = {}
        before = self.computed
        for batch in track(batches, "features", count, each=BATCH):
            for image in batch:
                digest = hashlib.sha256(image.tobytes()).digest()
                order.append(digest)
                if digest not in self._rows and digest not in waiting:
                    waiting[digest] = image
                    if len(waiting) == BATCH:
                        self._compute(waiting)
        if waiting:
            self._compute(waiting)
        if self.computed > before:
            self._write()
        self._classifier.cpu()
        return np.stack([self._rows[digest] for digest in order])

    @torch.inference_mode()
    def _compute(self, waiting: dict[bytes, npt.NDArray[np.uint8]]) -> None:
        images = np.stack([*waiting.values()])
        filled = np.concatenate([images, np.repeat(images[-1:], BATCH - len(images), axis=0)])
        embedded = self._classifier.features(torch.from_numpy(filled).to(self._device)).cpu().numpy()
        self._rows |= dict(zip(waiting, embedded[: len(images)], strict=True))
        self.computed += len(waiting)
        waiting.clear()

    def _key(self) -> str:
        """Returns a digest of everything except the image that a feature depends on."""
        digest = hashlib.sha256()
        head = f"network.{self._classifier.head_name}."
        for name, value in self._classifier.state_dict().items():
            if not name.startswith(head):
                digest.update(f"{name}{tuple(value.shape)}".encode() + value.cpu().numpy().tobytes())
        gpu = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else self._device.type
        machine = [torch.__version__, torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), gpu]
        code = CodeDigests().digest(__name__)
        return files.sha256(f"{digest.hexdigest()}{self._classifier.network}{machine}{code}".encode())[:32]

    def _read(self) -> None:
        """Reads the cache; a damaged file is ignored."""
        try:
            content = self._path.read_bytes()
            if files.sha256(content[_DIGITS:]).encode() == content[:_DIGITS]:
                arrays = load(content[_DIGITS:])
                self._rows = dict(zip(map(bytes, arrays["images"]), arrays["features"], strict=True))
        except (FileNotFoundError, SafetensorError):
            self._rows = {}

    def _write(self) -> None:
        for path in FOLDER.glob("*.bin"):
            if time.time() - path.stat().st_mtime > DAYS_KEPT * 86400:
                path.unlink(missing_ok=True)
        images = np.frombuffer(b"".join(self._rows), np.uint8).reshape(len(self._rows), -1)
        content = save({"images": images, "features": np.stack([*self._rows.values()])})
        files.write_bytes(self._path, files.sha256(content).encode() + content)


def batches_of(images: Images) -> Iterable[Images]:
    """Yields images [n, H, W, C] in batches."""
    return (images[start : start + BATCH] for start in range(0, len(images), BATCH))
