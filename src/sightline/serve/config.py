"""Configuration of the server: its address, key and limits."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field

from sightline.core.errors import UserError
from sightline.imaging.image_file import MAX_SECONDS, Limits

API_KEY = "SIGHTLINE_API_KEY"
"""Environment variable with the API key, since command lines are visible to all users of a machine."""

_SHORTEST_KEY = 16


@dataclass(frozen=True)
class ServeConfig:
    """Settings of the server of a bundle.

    Attributes:
        host: Address to listen on; all but loopback addresses require an API key.
        port: Port to listen on; 0 picks a free one.
        key: The API key, or None.
        limits: Limits on a single image, the same as at ingestion.
        max_images: Images per request.
        max_body: Maximum size in bytes of a request with several images.
        max_inflight_bytes: Maximum bytes of all request bodies in memory, above which requests are rejected with 429.
        max_waiting: Maximum number of images in the queue, above which requests are rejected with 429.
        seconds: Time limit for a request's images, as at ingestion, and for a client to send them.
        batch_size: Maximum number of images per run of the network.
        workers: Number of threads that decode and compute; 0 means one per core.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    key: str | None = field(default=None, repr=False)
    limits: Limits = field(default_factory=Limits)
    max_images: int = 64
    max_body: int = 128 * 2**20
    max_inflight_bytes: int = 512 * 2**20
    max_waiting: int = 1024
    seconds: float = MAX_SECONDS
    batch_size: int = 32
    workers: int = 0

    def __post_init__(self) -> None:
        if self.key is not None and len(self.key) < _SHORTEST_KEY:
            raise UserError(f"{API_KEY}: has fewer than {_SHORTEST_KEY} characters; `openssl rand -hex 24` makes one")
        if self.key is None and not self.is_local:
            raise UserError(
                f"--host {self.host}: others could reach this server: set {API_KEY} to a key that clients must send"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def threads(self) -> int:
        """The number of threads that decode and compute."""
        return self.workers or os.cpu_count() or 1
