"""Access control and request metrics, around the whole application."""

from __future__ import annotations

import hmac
import json
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sightline.serve.config import ServeConfig
from sightline.serve.prometheus import ServerMetrics

_LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class AccessMiddleware:
    """Refuses requests for other hosts, from other sites or without the key; counts and times all of them.

    Args:
        app: The application.
        config: Key and host.
        metrics: The counters; None counts nothing.
        closed: Paths that need the key.
        known: All paths, for the counters; others are counted as one.
    """

    def __init__(
        self, app: ASGIApp, config: ServeConfig, metrics: ServerMetrics | None, closed: set[str], known: set[str]
    ) -> None:
        self._app = app
        self._key = config.key.encode() if config.key else None
        self._local = config.is_local
        self._metrics = metrics
        self._closed = closed
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path = scope["path"] if scope["path"] in self._known else "other"
        status = 499  # nginx's code for a client that closed the connection

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in _HEADERS if h[0] not in present)]
            await send(message)

        try:
            if refusal := self._refuse(scope):
                await _send_error(answer, *refusal)
            else:
                await self._app(scope, receive, answer)
        finally:
            if self._metrics is not None:
                self._metrics.requests.labels(path, str(status)).inc()
                self._metrics.seconds.labels(path).observe(time.perf_counter() - started)

    def _refuse(self, scope: Scope) -> tuple[int, str, str] | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self._local and name.lower() not in _LOCAL_NAMES:
            # A page elsewhere may have its own name resolve to this machine, to read what is served here.
            return 421, "wrong_host", "this server only answers localhost"
        if headers.get(b"sec-fetch-site") == b"cross-site" and scope["method"] != "GET":
            return 403, "cross_site", "pages of other sites may not use this server"
        if self._key is not None and scope["path"] in self._closed:
            shown = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
            if not hmac.compare_digest(shown, self._key):
                return 401, "no_key", "send the API key as X-API-Key, or as Authorization: Bearer"
        return None


async def _send_error(send: Any, status: int, error: str, detail: str) -> None:
    body = json.dumps({"error": error, "detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"connection", b"close"))  # the body was not read
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
