"""Clusters: the connection to Ray, the version of the code on a node, and the messages of an engine's errors."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from sightline.core.code_digest import MEMORY, CodeDigests
from sightline.core.errors import UserError, how_to_install

RETRIES = 5
"""Nodes that may die while running one task before it is given up: the task itself may be what kills them."""
CONNECT = 10
"""Seconds to wait for a cluster's head."""


@contextlib.contextmanager
def ray_cluster(address: str | None, setting: str, address_setting: str) -> Iterator[Any]:
    """Yields the module `ray`, connected to a cluster until the context ends.

    Args:
        address: As "host:6379", "ray://host:10001" or "auto"; None starts a cluster on this machine.
        setting: The setting that asks for Ray, for error messages.
        address_setting: The change that starts a cluster on this machine instead, for error messages.

    Raises:
        UserError: If Ray is not installed, the cluster cannot be reached, or it fails.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # otherwise it leaves a token in the home folder
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError:
        raise UserError(f"{setting}: Ray is not installed: {how_to_install('ray')}") from None

    own = not ray.is_initialized()
    if own:
        options: dict[str, Any] = {"include_dashboard": False} if address is None else {}
        try:
            if address:
                _wait_for_port(address)
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise UserError(
                f"{setting}: no cluster at {address} ({first_line(error)}); start one with 'ray start --head', or "
                f"{address_setting} for one on this machine"
            ) from None
    try:
        yield ray
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise UserError(f"{setting}: {first_line(error)}") from None
    finally:
        if own:
            ray.shutdown()


def _wait_for_port(address: str) -> None:
    """Raises OSError unless something listens at "host:port" (Ray itself would try for minutes)."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT).close()


def software_version(module: str, libraries: Sequence[str]) -> str:
    """Returns a digest of a module's code, including its imports within the project, and of libraries' versions."""
    memory = MEMORY if MEMORY.parent.is_dir() else None  # a cluster's nodes have no project folder to keep it in
    parts = [CodeDigests(memory=memory).digest(module)]
    for name in libraries:
        try:
            parts.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:  # another build of OpenCV, or not installed
            parts.append(f"{name} absent")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
