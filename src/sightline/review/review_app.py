"""The web application of a review: its page, the queue (paginated), pictures and decisions."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sightline.core.errors import UserError, fault
from sightline.core.rejection import RejectionError
from sightline.datasets.corrections import Correction, ReviewDecision
from sightline.review import review_ranking
from sightline.review.review_project import ReviewProject
from sightline.review.review_queue import WORDS, Kind, ReviewItem
from sightline.serve import static_files
from sightline.serve.config import ServeConfig
from sightline.serve.middleware import AccessMiddleware

PAGE = 60
"""Pictures of the queue per response."""
_NEIGHBOURS = 8
_THUMBNAIL, _LARGE = 160, 1024
_MOST_BODY = 2**20

_PAGE_FILES = {
    "/": ("sightline.review/page", "review.html"),
    "/page/review.css": ("sightline.review/page", "review.css"),
    "/page/review.js": ("sightline.review/page", "review.js"),
    "/page/grid.js": ("sightline.review/page", "grid.js"),
    "/page/class_field.js": ("sightline.review/page", "class_field.js"),
    "/page/api.js": ("sightline.serve/page", "api.js"),
    "/page/result.js": ("sightline.serve/page", "result.js"),
    "/page/look.css": ("sightline.reporting", "look.css"),
    "/page/style.css": ("sightline.serve/page", "style.css"),
    "/page/icon.svg": ("sightline.reporting", "icon.svg"),
}


def review_application(project: ReviewProject, config: ServeConfig, bundle: Path | None = None) -> ASGIApp:
    """Returns the application that shows a project's queue and records decisions.

    Args:
        project: The project under review.
        config: The server's settings, for its address and key.
        bundle: The exported model, for explanations of predictions; None leaves them out.
    """
    handlers = _Handlers(project, bundle)
    routes = [
        *(static_files.route(path, folder, name) for path, (folder, name) in _PAGE_FILES.items()),
        Route("/queue", _guarded(handlers.queue), methods=["GET"]),
        Route("/item/{sha256}", _guarded(handlers.item), methods=["GET"]),
        Route("/why/{sha256}", _guarded(handlers.why), methods=["GET"]),
        Route("/picture/{sha256}", _guarded(handlers.picture), methods=["GET"]),
        Route("/decide", _guarded(handlers.decide), methods=["POST"]),
        Route("/undo", _guarded(handlers.undo), methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return AccessMiddleware(app, config, None, set(), set())


class _Handlers:
    """The request handlers and their shared state."""

    def __init__(self, project: ReviewProject, bundle: Path | None) -> None:
        self._project = project
        self._desk = project.desk
        self._of_kind: dict[str, list[ReviewItem]] = {"": self._desk.items}
        for item in self._desk.items:
            self._of_kind.setdefault(item.kind, []).append(item)
        self._bundle_folder = bundle
        self._bundle: Any = None
        self._explaining = asyncio.Semaphore(1)

    async def queue(self, request: Request) -> Response:
        """Returns a page of the queue; the query has `kind` and the first position, `start`."""
        kind = request.query_params.get("kind", "")
        items = self._of_kind.get(kind, [])
        start = _whole_number(request.query_params.get("start", "0"))
        counts = {each: len(of) for each, of in self._of_kind.items()}
        decided = {
            each: sum(self._desk.decision(i.sha256) is not None for i in of) for each, of in self._of_kind.items()
        }
        first = next((n for n, item in enumerate(items) if self._desk.decision(item.sha256) is None), len(items))
        return JSONResponse(
            {
                "total": len(items),
                "first": first,
                "start": start,
                "page": PAGE,
                "items": [self._row(item) for item in items[start : start + PAGE]],
                "kinds": [
                    {"kind": each, "words": WORDS[each], "count": counts[each], "decided": decided[each]}
                    for each in Kind
                    if each in counts
                ],
                "decided": decided[""],
                "classes": self._desk.classes,
                "file": str(self._desk.file.path),
            }
        )

    async def item(self, request: Request) -> Response:
        """Returns the model's predictions for one picture, and its nearest neighbours."""
        found = self._found(request)
        return JSONResponse(await asyncio.to_thread(self._judged, found))

    async def why(self, request: Request) -> Response:
        """Returns the occlusion map of the prediction for a picture, and the name of the most important place."""
        found = self._found(request)
        if self._bundle_folder is None:
            return JSONResponse({"png": None})
        async with self._explaining:
            return JSONResponse(await asyncio.to_thread(self._explained, found.sha256))

    async def picture(self, request: Request) -> Response:
        """Returns a picture as PNG or JPEG: a thumbnail, or a larger version with `large` in the query."""
        side = _LARGE if "large" in request.query_params else _THUMBNAIL
        sha256 = request.path_params["sha256"]
        if sha256 not in self._project.pictures:
            return _failure(404, "no such image")
        try:
            data, media = await asyncio.to_thread(self._project.pictures.shown, sha256, side)
        except RejectionError as error:
            return _failure(422, str(error))
        headers = {
            "content-type": media,
            "cache-control": "private, max-age=86400, immutable",
            "cross-origin-resource-policy": "same-origin",
        }
        return Response(data, headers=headers)

    async def decide(self, request: Request) -> Response:
        """Records one decision on pictures; it is on disk before the response is sent."""
        content = await _json(request)
        sha256s, label, reason = content.get("pictures"), content.get("label", ""), content.get("reason", "")
        if not isinstance(sha256s, list) or not all(isinstance(each, str) for each in [*sha256s, label, reason]):
            raise UserError('send {"pictures": [digest, ...], "decision": ..., "label": ...}')
        try:
            decision = ReviewDecision(str(content.get("decision")))
        except ValueError:
            raise UserError(f"decision: one of {', '.join(ReviewDecision)}") from None
        if decision is ReviewDecision.UNDO:
            raise UserError("decision: post to /undo instead")
        rows = await asyncio.to_thread(self._desk.decide, sha256s, decision, label, reason)
        return JSONResponse(self._after(rows))

    async def undo(self, request: Request) -> Response:
        """Undoes the last decision; returns its picture's position in the queue of `kind`, else in the whole one."""
        kind = str((await _json(request)).get("kind", ""))
        rows = await asyncio.to_thread(self._desk.undo)
        undone = {row.sha256 for row in rows}
        found = (
            {"kind": of, "place": place}
            for of in (kind, "")
            for place, item in enumerate(self._of_kind.get(of, []))
            if item.sha256 in undone
        )
        return JSONResponse(self._after(rows) | {"undone": len(rows)} | next(found, {"kind": kind, "place": None}))

    def _found(self, request: Request) -> ReviewItem:
        found = self._desk.by_sha256.get(request.path_params["sha256"])
        if found is None:
            raise UserError("no such image in the queue")
        return found

    def _after(self, rows: list[Correction]) -> dict[str, Any]:
        met = [self._desk.by_sha256[row.sha256] for row in rows if row.sha256 in self._desk.by_sha256]
        decided = self._decided(self._desk.items)
        return {"items": [self._row(i) for i in met], "decided": decided, "classes": self._desk.classes}

    def _decided(self, items: list[ReviewItem]) -> int:
        return sum(self._desk.decision(item.sha256) is not None for item in items)

    def _row(self, item: ReviewItem) -> dict[str, Any]:
        held = self._desk.decision(item.sha256)
        return {
            "sha256": item.sha256,
            "id": item.id,
            "kind": item.kind,
            "words": WORDS[item.kind],
            "label": item.label,
            "suggestion": item.suggestion,
            "detail": item.detail,
            "split": item.split,
            "needs_label": item.needs_label,
            "decision": held.decision if held else None,
            "new": held.new if held else None,
        }

    def _judged(self, item: ReviewItem) -> dict[str, Any]:
        judged, place = self._project.judged, item.place
        if place is None:
            return {"top": [], "neighbours": []}
        row = judged.probabilities[place]
        top = [{"label": judged.classes[at], "probability": round(float(row[at]), 6)} for at in (-row).argsort()[:9]]
        inside = judged.embeddings[: self._project.inside]
        places, cosines = review_ranking.nearest(judged.embeddings[place : place + 1], inside, _NEIGHBOURS + 1)
        near = [
            {
                "sha256": judged.sha256[at],
                "label": judged.classes[judged.labels[at]],
                "likeness": round(float(cosine), 3),
            }
            for at, cosine in zip(places[0].tolist(), cosines[0].tolist(), strict=True)
            if at != place
        ]
        return {"top": top, "neighbours": near[:_NEIGHBOURS]}

    def _explained(self, sha256: str) -> dict[str, Any]:
        import base64

        from sightline.predict.bundle import Bundle
        from sightline.serve import occlusion

        if self._bundle is None and self._bundle_folder is not None:
            self._bundle = Bundle.load(self._bundle_folder, threads=1)
        try:
            prepared = self._bundle.prepare(self._project.pictures.data(sha256))
        except RejectionError:
            return {"png": None}
        row = self._bundle.probabilities(prepared[None])[0]
        target = int(row.argmax())
        heat = occlusion.explain(self._bundle, prepared, target, float(row[target]))
        return {
            "png": base64.b64encode(occlusion.heat_png(heat)).decode(),
            "input": base64.b64encode(occlusion.picture_png(prepared)).decode(),
            "label": self._bundle.classes[target],
            "where": occlusion.place_name(*heat.worst),
            "lowest": round(float(heat.lowest), 4),
            "probability": round(float(row[target]), 4),
        }


async def _json(request: Request) -> dict[str, Any]:
    # With some other content types, a browser would let any site send the request without a CORS preflight.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UserError("send application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BODY:
            raise UserError(f"at most {_MOST_BODY:,} bytes")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise UserError("the body is not JSON") from None
    if not isinstance(content, dict):
        raise UserError("the body is not a JSON object")
    return content


def _whole_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise UserError("start: a whole number")
    return int(text)


def _guarded(handler: Any) -> Any:
    """Wraps a handler such that user errors and disk errors become responses with a one-line message."""

    async def handle(request: Request) -> Response:
        try:
            response: Response = await handler(request)
        except UserError as error:
            return _failure(400, str(error))
        except OSError as error:  # a disk error: nothing was saved, and the page must say so
            return _failure(507, str(fault(error) or error))
        return response

    return handle


def _failure(status: int, detail: str) -> Response:
    return JSONResponse({"error": "refused", "detail": detail}, status)
