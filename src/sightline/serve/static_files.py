"""The web page's files: read once, served from memory, allowed to load nothing from anywhere else."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_SHARED = ("look.css", "icon.svg")
"""Files shared with the report, stored with its templates."""
_SERVE, _REPORTING = "sightline.serve/page", "sightline.reporting"
_PATHS = {
    "/": "index.html",
    "/docs": "docs.html",
    "/page/look.css": "look.css",
    "/page/style.css": "style.css",
    "/page/api.js": "api.js",
    "/page/page.js": "page.js",
    "/page/result.js": "result.js",
    "/page/camera.js": "camera.js",
    "/page/card.js": "card.js",
    "/page/docs.js": "docs.js",
    "/page/icon.svg": "icon.svg",
}


def routes() -> list[Route]:
    """Returns a route for every file of the page of a model."""
    return [route(path, _REPORTING if name in _SHARED else _SERVE, name) for path, name in _PATHS.items()]


def route(path: str, folder: str, name: str) -> Route:
    """Returns a route for a file.

    Args:
        path: Of the address.
        folder: A package, and after a slash a folder in it.
        name: The file's name there.
    """
    package, _, inside = folder.partition("/")
    data = files(package).joinpath(inside, name).read_bytes()
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {
        "content-type": _KINDS[name.rpartition(".")[2]],
        "content-security-policy": _POLICY,
        "permissions-policy": "camera=(self)",
        "cache-control": "no-cache",
        "etag": tag,
    }

    async def serve(request: Request) -> Response:
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers)

    return Route(path, serve, methods=["GET"])
