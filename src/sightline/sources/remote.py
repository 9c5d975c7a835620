"""Files at a URL, read through fsspec. Credentials come from the environment, as each service's own tools read them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sightline.core.credentials import mask
from sightline.core.errors import UserError, how_to_install
from sightline.core.rejection import RejectionError, RejectionReason

# Keys in fsspec's file info that change with a file's content, or with its time; their names differ by service.
_CONTENT = ("ETag", "etag", "md5Hash", "Content-MD5")
_TIME = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime")

_EXTRAS = {"s3": "remote", "s3a": "remote", "http": "remote", "https": "remote", "gs": "gcs", "gcs": "gcs"}

THREADS = 16
"""Concurrent requests, because each one waits for the network."""

_WEB = ("http://", "https://")
_CONNECTING, _SILENCE, _ANSWER = 30.0, 60.0, 300.0  # seconds that a web server has to accept, to go on, and to finish


class UrlNotFoundError(UserError):
    """Nothing exists at a URL."""


def is_web(url: str) -> bool:
    """Says whether a web server is asked, which lists no sizes and where `*` is a character as any other."""
    return url.startswith(_WEB)


def location(url: str) -> str:
    """Returns a printable URL: without the parts before an `@` and after a `?`, which may be credentials.

    Except on the web, a `?` may belong to a pattern or a file's name.
    """
    place, mark, rest = url.partition("?")
    kept = mark + rest if not is_web(place) and "=" not in rest else ""
    return mask(place) + kept


def filesystem(url: str, seconds: float | None = _ANSWER) -> tuple[Any, str]:
    """Returns fsspec's file system for a URL, and the path within it.

    Args:
        url: The URL.
        seconds: Time that a web server has for a whole answer; None for as long as it goes on sending.

    Raises:
        UserError: If the package for this kind of URL is not installed.
    """
    scheme = url.partition("://")[0]
    try:
        import fsspec.core

        options: dict[str, Any] = {}
        if is_web(url):
            from aiohttp import ClientTimeout

            timeout = ClientTimeout(total=seconds, sock_connect=_CONNECTING, sock_read=_SILENCE)
            options["client_kwargs"] = {"timeout": timeout}
        fs, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = how_to_install(extra) if extra else "install the package that it names"
        raise UserError(f"{scheme}:// needs a package that is not installed: {remedy} ({error})") from None
    return fs, path


@contextlib.contextmanager
def user_errors(url: str) -> Iterator[None]:
    """Turns a service client's exceptions into one line without credentials. The block must only call fsspec."""
    try:
        yield
    except (UserError, RejectionError):
        raise
    except FileNotFoundError:
        raise UrlNotFoundError(f"nothing found at {location(url)}") from None
    except PermissionError:
        raise UserError(f"no access to {location(url)}; set its credentials in the environment") from None
    except Exception as error:  # clients raise their own: botocore, aiohttp, google, ...
        kind = type(error).__name__
        if type(error).__module__ == "builtins" and not isinstance(error, OSError | ValueError):
            raise  # a bug in this program
        status = getattr(error, "status", None)
        cause = f"HTTP {status}" if isinstance(status, int) and status else kind  # 0: too many redirects
        remedy = "check the address, the network, and the credentials in the environment"
        raise UserError(f"cannot read {location(url)} ({cause}); {remedy}") from None


def read_at_most(fs: Any, name: str, max_bytes: int) -> bytes:
    """Reads a file; never more of it than is allowed, whatever the service says of its size.

    Raises:
        RejectionError: If it is larger.
    """
    # fsspec would ask for the size in a request of its own, which not every web server answers.
    in_one_request = {"size": 1, "block_size": 0} if is_web(name) else {}
    parts, left = [], max_bytes + 1
    with fs.open(name, "rb", **in_one_request) as stream:
        while left and (part := stream.read(left)):  # of an answer without a length, what has come so far
            parts.append(part)
            left -= len(part)
    if not left:
        raise RejectionError(RejectionReason.TOO_MANY_BYTES, f"more than {max_bytes:,} bytes")
    return b"".join(parts)


def state(info: dict[str, Any]) -> dict[str, Any]:
    """Returns a remote file's size and the values that change with its content or, failing that, its time."""
    by_content = [key for key in _CONTENT if info.get(key)]
    keys = by_content or [key for key in _TIME if info.get(key)]
    changes = {key.lower(): str(info[key]).strip('"') for key in keys}
    return {"bytes": info.get("size"), **changes}
