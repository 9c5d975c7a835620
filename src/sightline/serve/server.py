"""The server's process: socket, event loop, graceful shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sightline.core.errors import UserError
from sightline.predict.bundle import Bundle
from sightline.serve.app import application
from sightline.serve.config import ServeConfig

_GRACE = 10
"""Seconds for finishing requests after the server is asked to stop."""

_ARENAS = -8  # M_ARENA_MAX of glibc's malloc.h


def run_server(bundle: Bundle, config: ServeConfig, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serves a model until SIGINT or SIGTERM, then finishes open requests and ends without leaving anything running.

    Args:
        bundle: The model.
        config: The server's settings.
        ready: Called with the server's address once it accepts requests.

    Raises:
        UserError: If the address is not available.
    """
    run_application(application(bundle, config), config, ready)


def run_application(app: ASGIApp, config: ServeConfig, ready: Callable[[str], None]) -> None:
    """Serves any application as `run` does a model's."""
    _fewer_arenas()
    with _listen(config) as listener:
        host = f"[{config.host}]" if ":" in config.host else config.host
        address = f"http://{host}:{listener.getsockname()[1]}"
        settings = uvicorn.Config(
            app,
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
        listener = socket.create_server((config.host, config.port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        remedy = f"choose another, such as --port {config.port + 1}" if taken else "choose others"
        raise UserError(f"--host {config.host} --port {config.port}: {reason}; {remedy}") from None
    # What it accepts inherits this. asyncio sets it on sockets of protocol TCP alone, and this one's is 0: an answer's
    # body would wait until the client has acknowledged its head, which takes a client that goes on listening 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _protocol(seconds: float) -> type[H11Protocol]:
    class IdleTimeoutProtocol(H11Protocol):
        """Ends a connection whose client keeps the server waiting for longer than `seconds`.

        uvicorn itself ends one that is silent between two requests, and no other; the application sees to the body
        that it reads.
        """

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._unread: asyncio.TimerHandle | None = None
            self._unsent: asyncio.TimerHandle | None = self.loop.call_later(seconds, transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for timer in (self._unsent, self._unread):
                if timer is not None:
                    timer.cancel()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._expect()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._expect()

        def _expect(self) -> None:
            """Waits for the rest of a request's head, or of a body that nobody reads; counts from its first byte."""
            idle = self.cycle is None or self.cycle.response_complete
            if idle and (self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]):
                self._unsent = self._unsent or self.loop.call_later(seconds, self.transport.close)
            elif self._unsent is not None:
                self._unsent.cancel()
                self._unsent = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._unread is not None:
                self._unread.cancel()
                self._unread = None

    return IdleTimeoutProtocol


def _fewer_arenas() -> None:
    """Limits glibc to two memory arenas, since memory freed in one thread's arena is not available to others."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENAS, 2)
