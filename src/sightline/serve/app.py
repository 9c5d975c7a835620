"""The web application that serves a bundle. One process and one event loop; threads decode and compute."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sightline.core.errors import DISTRIBUTION
from sightline.core.rejection import RejectionError
from sightline.predict.bundle import Bundle
from sightline.predict.writers import as_row
from sightline.serve import openapi, request_body, responses, static_files
from sightline.serve.batcher import Batcher, QueueFull
from sightline.serve.config import ServeConfig
from sightline.serve.middleware import AccessMiddleware
from sightline.serve.prometheus import CONTENT_TYPE, ServerMetrics
from sightline.serve.request_body import RequestError

CLOSED = {"/predict", "/explain", "/model", "/metrics"}
"""Paths that need the key, where there is one: health, page and the API's description reveal nothing of the model."""

Handler = Callable[[Request], Awaitable[Response]]


def application(bundle: Bundle, config: ServeConfig) -> ASGIApp:
    """Returns the application that serves a bundle."""
    server = _Server(bundle, config)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        server.start()
        yield
        server.batcher.close()

    routes = [
        Route("/predict", _with_error_responses(server.predict), methods=["POST"]),
        Route("/explain", _with_error_responses(server.explain), methods=["POST"]),
        Route("/model", server.model, methods=["GET"]),
        Route("/health", server.health, methods=["GET"]),
        Route("/metrics", server.scrape, methods=["GET"]),
        Route("/openapi.json", server.describe, methods=["GET"]),
        *static_files.routes(),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error})
    app.router.redirect_slashes = False  # it would send a client to whatever host its own Host header names
    return AccessMiddleware(app, config, server.metrics, CLOSED, {route.path for route in routes})


class _Server:
    """The handlers, and what they share."""

    def __init__(self, bundle: Bundle, config: ServeConfig) -> None:
        self.bundle = bundle
        self.config = config
        self.metrics = ServerMetrics(bundle, lambda: self.batcher.waiting)
        self.inflight = request_body.InflightLimit(config.max_inflight_bytes)
        self.about = responses.about(bundle, config, version(DISTRIBUTION))
        self.described = openapi.describe(self.about["version"], self.about["limits"])
        self.explaining = asyncio.Semaphore(1)  # 50 runs of the network each: they must not crowd out predictions
        self.explain_requests = 0

    def start(self) -> None:
        """Starts the threads, in the event loop's own thread."""
        config = self.config
        self.batcher = Batcher(
            self.bundle, config.threads, config.batch_size, config.max_waiting, self.metrics.batch.observe
        )

    async def predict(self, request: Request) -> Response:
        top_k, threshold = parse_query(request, len(self.bundle.classes))
        with self.inflight.request() as take:
            sent = await request_body.images(request, self.config, take)
            answers = await self.batcher.predict([one.data for one in sent], self.config.seconds)
        predictions = [
            responses.judge(self.bundle, one.name, answer, top_k, threshold)
            for one, answer in zip(sent, answers, strict=True)
        ]
        for p in predictions:
            self.metrics.images.labels(p.error or ("abstained" if p.abstained else "predicted")).inc()
        # Of several images some may be unreadable; where all are, the request is.
        failed = all(p.error for p in predictions)
        body: dict[str, Any] = {"model": self.bundle.digest, "predictions": [as_row(p) for p in predictions]}
        if failed:
            body = {"error": predictions[0].error, "detail": predictions[0].detail, **body}
        return JSONResponse(body, 422 if failed else 200)

    async def explain(self, request: Request) -> Response:
        top_k, threshold = parse_query(request, len(self.bundle.classes))
        if self.explain_requests >= 8:
            raise QueueFull
        self.explain_requests += 1
        try:
            with self.inflight.request() as take:
                sent = await request_body.images(request, self.config, take)
                if len(sent) > 1:
                    raise RequestError(413, "too_many_images", "one image at a time is explained")
                async with self.explaining:
                    body = await asyncio.to_thread(
                        responses.explanation, self.bundle, sent[0].name, sent[0].data, top_k, threshold
                    )
        except RejectionError as refused:
            raise RequestError(422, str(refused.reason), refused.detail) from None
        finally:
            self.explain_requests -= 1
        return JSONResponse(body)

    async def model(self, _: Request) -> Response:
        return JSONResponse(self.about)

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "version": self.about["version"]})

    async def scrape(self, _: Request) -> Response:
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def describe(self, _: Request) -> Response:
        return JSONResponse(self.described)


def parse_query(request: Request, classes: int) -> tuple[int, float | None]:
    """Returns `top_k` and `threshold` of the query."""
    try:
        top_k = int(request.query_params.get("top_k", min(5, classes)))
        value = request.query_params.get("threshold")
        threshold = None if value is None else float(value)
    except ValueError:
        raise RequestError(400, "bad_query", "top_k is a whole number and threshold a number", close=True) from None
    if top_k < 1 or not (threshold is None or 0 <= threshold <= 1):
        raise RequestError(400, "bad_query", "top_k is at least 1 and threshold in 0..1", close=True)
    return top_k, threshold


def _with_error_responses(handler: Handler) -> Handler:
    """Wraps a handler so that a refused request gets its error response."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except RequestError as refusal:
            return _error_response(refusal)
        except QueueFull:
            return _error_response(RequestError(429, "busy", "too many images wait: come back later"))
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it

    return handle


def _error_response(refusal: RequestError) -> Response:
    headers = {"connection": "close"} if refusal.close else {}
    if refusal.status == 429:
        headers["retry-after"] = "1"
    return JSONResponse({"error": refusal.error, "detail": refusal.detail}, refusal.status, headers)


async def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    names = {404: "not_found", 405: "method_not_allowed"}
    headers = dict(getattr(error, "headers", None) or {})
    detail = "see /docs" if status in names else ""
    return JSONResponse({"error": names.get(status, "error"), "detail": detail}, status, headers)
