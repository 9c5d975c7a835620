"""The web application that serves a bundle. One process and one event loop; threads decode and run the network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sightline.core.errors import DISTRIBUTION, UserError
from sightline.core.rejection import RejectionError
from sightline.predict.bundle import Bundle
from sightline.predict.prediction import Prediction, Question
from sightline.predict.prediction_row import as_row
from sightline.serve import api, openapi, request_body, responses, static_files
from sightline.serve.api import PredictQuery
from sightline.serve.batcher import Batcher, QueueFull
from sightline.serve.config import ServeConfig
from sightline.serve.middleware import AccessMiddleware
from sightline.serve.openapi import Endpoint, Handler
from sightline.serve.prometheus import CONTENT_TYPE, ServerMetrics
from sightline.serve.request_body import RequestError


def application(bundle: Bundle, config: ServeConfig) -> ASGIApp:
    """Returns the application that serves a bundle."""
    server = _Server(bundle, config)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        server.start()
        yield
        server.batcher.close()

    endpoints = server.endpoints()
    described = openapi.describe(endpoints, server.about["version"], server.about["limits"])

    async def describe(_: Request) -> Response:
        return JSONResponse(described)

    routes = [
        *(Route(e.path, _with_error_responses(e.handler), methods=[e.method]) for e in endpoints),
        Route("/openapi.json", describe, methods=["GET"]),
        *static_files.routes(),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error})
    app.router.redirect_slashes = False  # it would redirect to the host in the Host header
    # The page and the API's description need no key, since they reveal nothing about the model.
    closed = {endpoint.path for endpoint in endpoints if endpoint.needs_key}
    return AccessMiddleware(app, config, server.metrics, closed, {route.path for route in routes})


class _Server:
    """The request handlers and their shared state."""

    def __init__(self, bundle: Bundle, config: ServeConfig) -> None:
        self.bundle = bundle
        self.config = config
        self.metrics = ServerMetrics(bundle, lambda: self.batcher.waiting)
        self.inflight = request_body.InflightLimit(config.max_inflight_bytes)
        self.about = responses.about(bundle, config, version(DISTRIBUTION))
        self.explaining = asyncio.Semaphore(1)  # 50 network inputs each: they must not crowd out predictions
        self.explain_requests = 0

    def endpoints(self) -> list[Endpoint]:
        """Returns the API's endpoints with their descriptions and types."""
        media = {"image/*": api.Binary, "application/octet-stream": api.Binary}
        return [
            Endpoint(
                "POST",
                "/predict",
                self.predict,
                "Predict one or many images.",
                {200: (api.Predictions, "One row per image."), 422: (api.Predictions, "No image could be read.")},
                "One image as the raw body; up to "
                f"{self.config.max_images} as the files of a form, or as base64 in JSON. One row per image, in order; "
                "an image that cannot be read has a row with `error`, and where none can the status is 422.",
                query=PredictQuery,
                body={**media, "multipart/form-data": api.ImagesForm, "application/json": api.Images},
            ),
            Endpoint(
                "POST",
                "/explain",
                self.explain,
                "Predict one image, and show its preprocessing and what the prediction depends on.",
                {200: (api.Explanation, "The explanation."), 422: (api.Failure, "The image could not be read.")},
                "A patch covers parts of the image in turn: where the class's probability falls, the prediction "
                "depends on that part (occlusion sensitivity). 49 runs of the network, one image at a time.",
                query=PredictQuery,
                body={**media, "multipart/form-data": api.ImageForm, "application/json": api.Images},
            ),
            Endpoint(
                "GET",
                "/model",
                self.model,
                "The model: classes, digest, calibration, model card; the server's limits.",
                {200: (api.Model, "The model.")},
            ),
            Endpoint(
                "GET",
                "/health",
                self.health,
                "Whether the server answers. Needs no key.",
                {200: (api.Health, "The server answers.")},
                needs_key=False,
            ),
            Endpoint(
                "GET", "/metrics", self.scrape, "Metrics in Prometheus' text format.", {200: (str, "The metrics.")}
            ),
        ]

    def start(self) -> None:
        """Starts the worker threads; to be called in the event loop's thread."""
        config = self.config
        self.batcher = Batcher(
            self.bundle,
            config.threads,
            config.batch_size,
            config.max_waiting,
            self.metrics.batch.observe,
            self.metrics.drift.observe,
        )

    async def predict(self, request: Request) -> Response:
        question = self._question(request)
        with self.inflight.request() as take:
            sent = await request_body.request_images(request, self.config, take)
            answers = await self.batcher.predict([one.data for one in sent], self.config.seconds)
        predictions = [
            responses.judge(self.bundle, one.name, answer, question) for one, answer in zip(sent, answers, strict=True)
        ]
        for p in predictions:
            self.metrics.images.labels(p.error or _outcome(p)).inc()
        # Some of several images may be unreadable; the request fails only if all are.
        failed = all(p.error for p in predictions)
        body: api.Predictions = {"model": self.bundle.digest, "predictions": [as_row(p) for p in predictions]}
        if failed:
            body |= {"error": predictions[0].error, "detail": predictions[0].detail}
        return JSONResponse(body, 422 if failed else 200)

    async def explain(self, request: Request) -> Response:
        question = self._question(request)
        if self.explain_requests >= 8:
            raise QueueFull
        self.explain_requests += 1
        try:
            with self.inflight.request() as take:
                sent = await request_body.request_images(request, self.config, take)
                if len(sent) > 1:
                    raise RequestError(413, "too_many_images", "only one image at a time can be explained")
                async with self.explaining:
                    body = await asyncio.to_thread(
                        responses.explanation, self.bundle, sent[0].name, sent[0].data, question
                    )
        except RejectionError as refused:
            raise RequestError(422, str(refused.reason), refused.detail) from None
        finally:
            self.explain_requests -= 1
        return JSONResponse(body)

    def _question(self, request: Request) -> Question:
        try:
            query = api.parse_query(request.query_params)
            return self.bundle.question(query.top_k, query.threshold, query.abstain, query.coverage)
        except (ValueError, UserError) as error:
            raise RequestError(400, "bad_query", str(error), close=True) from None

    async def model(self, _: Request) -> Response:
        return JSONResponse(self.about)

    async def health(self, _: Request) -> Response:
        body: api.Health = {"status": "ok", "version": self.about["version"]}
        return JSONResponse(body)

    async def scrape(self, _: Request) -> Response:
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})


def _outcome(p: Prediction) -> str:
    if p.none_of_these:
        return "none_of_these"
    return "abstained" if p.abstained else "predicted"


def _with_error_responses(handler: Handler) -> Handler:
    """Wraps a handler such that its request errors become error responses."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except RequestError as refusal:
            return _error_response(refusal)
        except QueueFull:
            return _error_response(RequestError(429, "busy", "too many images are waiting: try again later"))
        except ClientDisconnect:
            return Response(status_code=499)  # the client is gone

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
