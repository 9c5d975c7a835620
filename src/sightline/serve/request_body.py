"""Request bodies, as encoded images: raw bytes, a multipart form, or JSON with base64."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from sightline.core.json_schema import invalid
from sightline.core.rejection import RejectionError
from sightline.imaging.encoded import from_text
from sightline.serve.api import Images, NamedImage
from sightline.serve.config import ServeConfig

# The form parser would log each rejected form to standard error; the client is told the reason anyway.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

_DRAINED = 16 * 2**20
"""Bytes beyond the limit that are read and discarded, so that a client that has sent them can read the response."""

_LARGE = 2**20
"""Size in bytes from which JSON is parsed in a thread, so that other requests are not delayed."""


@dataclass
class RequestError(Exception):
    """A request that is not answered with predictions.

    Attributes:
        status: The HTTP status.
        error: The fault, a word.
        detail: A human-readable explanation.
        close: Whether the connection ends, since the body was not read.
    """

    status: int
    error: str
    detail: str = ""
    close: bool = False


class InflightLimit:
    """A limit on the bytes of all request bodies in memory.

    Args:
        most: The limit; a request that would exceed it is refused.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0

    @contextlib.contextmanager
    def request(self) -> Iterator[Callable[[int], None]]:
        """Yields a function that a request calls with the number of bytes that it has just read."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self._count + count > self._most:
                raise RequestError(429, "busy", "the server is busy with large requests", close=True)
            own += count
            self._count += count

        try:
            yield take
        finally:
            self._count -= own


Take = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class UploadedImage:
    """An image as the client named and sent it."""

    name: str
    data: bytes


async def request_images(request: Request, config: ServeConfig, take: Take) -> list[UploadedImage]:
    """Reads a request's images.

    Args:
        request: Its body is read, no further than its kind allows.
        config: The limits.
        take: Called with the number of bytes read; see `InflightLimit.request`.

    Raises:
        RequestError: If the body is too large, too slow, of another kind, or cannot be read.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        uploads = await _form(request, config, take)
    elif kind == "application/json":
        uploads = await _json(await _whole(request, config, config.max_body, take), config)
    elif kind.startswith("image/") or kind == "application/octet-stream":
        uploads = [UploadedImage("image", await _whole(request, config, config.limits.max_bytes, take))]
    else:
        detail = "send an image (image/*, application/octet-stream), multipart/form-data, or application/json"
        raise RequestError(415, "unsupported_media_type", detail)
    if not uploads:
        raise RequestError(400, "no_image", "the request contains no image")
    if len(uploads) > config.max_images:
        raise _too_many(config)
    return uploads


def _too_many(config: ServeConfig) -> RequestError:
    return RequestError(413, "too_many_images", f"at most {config.max_images} images per request", close=True)


async def _chunks(request: Request, config: ServeConfig, most: int, take: Take) -> AsyncGenerator[bytes, None]:
    """Yields the body in chunks; limits are checked before a chunk is kept."""
    too_large = RequestError(413, "too_many_bytes", f"at most {most:,} bytes", close=True)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most + _DRAINED:
        raise too_large
    received = 0
    try:
        async with asyncio.timeout(config.seconds):
            async for chunk in request.stream():
                received += len(chunk)
                if received > most + _DRAINED:
                    raise too_large
                if received > most:
                    continue
                take(len(chunk))
                yield chunk
    except TimeoutError:
        raise RequestError(408, "too_slow", f"the body took more than {config.seconds:g} s", close=True) from None
    if received > most:
        raise too_large


async def _whole(request: Request, config: ServeConfig, most: int, take: Take) -> bytes:
    chunks = [chunk async for chunk in _chunks(request, config, most, take)]
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _form(request: Request, config: ServeConfig, take: Take) -> list[UploadedImage]:
    stream = _chunks(request, config, config.max_body, take)
    parser = MultiPartParser(request.headers, stream, max_files=config.max_images, max_fields=config.max_images)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many" in error.message:
            raise _too_many(config) from None
        raise RequestError(400, "bad_form", error.message, close=True) from None
    except (ValueError, KeyError, UnicodeError) as error:  # a charset, or a header, that there is none such
        raise RequestError(400, "bad_form", type(error).__name__, close=True) from None
    try:
        parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        return [UploadedImage(part.filename or f"[{place}]", await part.read()) for place, part in enumerate(parts)]
    finally:
        await form.close()


async def _json(body: bytes, config: ServeConfig) -> list[UploadedImage]:
    if len(body) > _LARGE:
        return await asyncio.to_thread(_parse, body, config)
    return _parse(body, config)


def _parse(body: bytes, config: ServeConfig) -> list[UploadedImage]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestError(400, "bad_json", "the body is not JSON") from None
    if not isinstance(content, dict) or not ("images" in content or "image" in content):
        raise RequestError(400, "bad_json", 'send {"images": ["<base64>", {"name": "a.png", "data": "<base64>"}]}')
    if problem := invalid(content, Images, ""):
        raise RequestError(400, "bad_json", problem)
    images = content.get("images", content.get("image"))
    listed = images if isinstance(images, list) else [images]
    if len(listed) > config.max_images:
        raise _too_many(config)
    return [_decoded(one, place) for place, one in enumerate(listed)]


def _decoded(one: str | NamedImage, place: int) -> UploadedImage:
    named: NamedImage = {"data": one} if isinstance(one, str) else one
    try:
        return UploadedImage(named.get("name", f"[{place}]"), from_text(named["data"]))
    except RejectionError:
        raise RequestError(400, "bad_base64", f"images[{place}] is not base64") from None
