"""The server's process: a socket, an event loop, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sightline.errors import UserError
from sightline.predict.bundle import Bundle
from sightline.serve.app import application
from sightline.serve.config import ServeConfig

_GRACE = 10
"""Seconds that requests get to be answered once the server is told to stop."""

_ARENAS = -8  # M_ARENA_MAX of glibc's malloc.h


def run(bundle: Bundle, config: ServeConfig, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serves until SIGINT or SIGTERM, then answers what it has begun and ends; nothing is left running.

    Args:
        bundle: The model.
        config: Where and how.
        ready: Is called with the server's address once it answers.

    Raises:
        UserError: If the address cannot be had.
    """
    _fewer_arenas()
    with _listen(config) as listener:
        host = f"[{config.host}]" if ":" in config.host else config.host
        address = f"http://{host}:{listener.getsockname()[1]}"
        settings = uvicorn.Config(
            application(bundle, config),
            http=_protocol(config.seconds),
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_GRACE,
        )
        server = _Server(settings, lambda: ready(address))
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn raises the signal anew when all is done
            return


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def _listen(config: ServeConfig) -> socket.socket:
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((config.host, config.port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or error
        raise UserError(f"--host {config.host} --port {config.port}: {said}; choose others") from None


def _protocol(seconds: float) -> type[H11Protocol]:
    class Impatient(H11Protocol):
        """Ends a connection on which no request comes: uvicorn waits for the first one without end."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            asyncio.get_running_loop().call_later(seconds, self._end_if_idle)

        def _end_if_idle(self) -> None:
            if not self.cycle:
                self.transport.close()

    return Impatient


def _fewer_arenas() -> None:
    """Has the threads share two pools of memory: glibc gives each its own, and what one frees no other gets."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENAS, 2)
