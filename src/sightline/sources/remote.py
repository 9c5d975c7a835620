"""Files behind a URL, by fsspec. Credentials come from the environment, as each service's own tools take them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sightline.core.credentials import mask
from sightline.core.errors import UserError, how_to_install
from sightline.core.rejection import RejectionError

# fsspec's names for what tells that a file has changed, as the services call it: by its content, by its time.
_CONTENT = ("ETag", "etag", "md5Hash", "Content-MD5")
_TIME = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime")

_EXTRAS = {"s3": "remote", "s3a": "remote", "http": "remote", "https": "remote", "gs": "gcs", "gcs": "gcs"}

THREADS = 16
"""Requests at once: a network's answer takes its time."""


class UrlNotFoundError(UserError):
    """A URL at which there is nothing."""


def location(url: str) -> str:
    """Returns a human-readable URL: without what stands before an `@` or behind a `?`, where credentials are.

    Not on the web, a `?` may be one of a pattern, or of a file's name.
    """
    place, mark, rest = url.partition("?")
    kept = mark + rest if not place.startswith(("http://", "https://")) and "=" not in rest else ""
    return mask(place) + kept


def filesystem(url: str) -> tuple[Any, str]:
    """Returns fsspec's file system for a URL, and the path in it.

    Raises:
        UserError: If the package for this kind of URL is not installed.
    """
    scheme = url.partition("://")[0]
    try:
        import fsspec.core

        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = how_to_install(extra) if extra else "install the package that it names"
        raise UserError(f"{scheme}:// needs a package that is not installed: {remedy} ({error})") from None
    return fs, path


@contextlib.contextmanager
def user_errors(url: str) -> Iterator[None]:
    """Turns what a service's client raises into one line without credentials. Only calls of fsspec stand inside."""
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
            raise  # a fault of this program
        remedy = "check the address, the network, and the credentials in the environment"
        raise UserError(f"cannot read {location(url)} ({kind}); {remedy}") from None


def state(info: dict[str, Any]) -> dict[str, Any]:
    """Returns what fsspec says of a file's content: its size, and what changes with it; its time if nothing else."""
    by_content = [key for key in _CONTENT if info.get(key)]
    keys = by_content or [key for key in _TIME if info.get(key)]
    changes = {key.lower(): str(info[key]).strip('"') for key in keys}
    return {"bytes": info.get("size"), **changes}
