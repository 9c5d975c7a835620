"""Credentials: taken from the environment, and kept out of everything that is written.

A password never stands in the configuration, which DVC and MLflow record: a database's URL may be configured without
one, and the password, or the whole URL, comes from the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from sightline.errors import UserError

DATABASE_URL = "SIGHTLINE_DATABASE_URL"
"""Environment variable with a database's whole URL, for where the configuration names none."""

DATABASE_PASSWORD = "SIGHTLINE_DATABASE_PASSWORD"  # noqa: S105 - a variable's name
"""Environment variable with the password of the user that a database's URL names."""

MASK = "***"
_SHORT = 4

_PORTS = {"mysql": 3306, "mariadb": 3306, "postgresql": 5432, "postgres": 5432, "mongodb": 27017}
_FORM = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:(?P<user>[^/?#:]*)(?::(?P<password>[^/?#]*))?@)?"
    r"(?P<hosts>[^/?#@]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?",
    re.DOTALL,
)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+)(:\d{1,5})?")
_USERINFO = re.compile(r"(?<=://)\S*(?=@)")
_NAMES = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|credential|signature|(?:api|access|private)[_-]?key)"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_ASSIGNMENT = re.compile(
    rf"""(?P<name>[\w-]*{_NAMES}[\w-]*)(?P<sign>["']?\s*[=:]\s*["']?)(?P<value>[^\s&"',;]+)""", re.IGNORECASE
)


@dataclass(frozen=True)
class Url:
    """A database's URL in its parts; its representation shows no credentials.

    Attributes:
        scheme: In lower case, e.g. `mysql+pymysql`.
        hosts: `host[:port]`, for MongoDB a comma-separated list of them; empty for SQLite.
        path: From the `/` on: the database's name, or SQLite's file.
        user: As it stands in the URL (percent-encoded), or None.
        password: As it stands in the URL (percent-encoded), or None.
        query: What follows the `?`.
    """

    scheme: str
    hosts: str
    path: str
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    query: str = field(repr=False)

    @property
    def family(self) -> str:
        """The scheme without a driver: `mysql` for `mysql+pymysql`."""
        return self.scheme.partition("+")[0]

    @property
    def location(self) -> str:
        """The URL without user, password and query: fit for messages, fingerprints and logs."""
        return f"{self.scheme}://{self.hosts}{self.path}"

    @property
    def address(self) -> str:
        """`host:port` (a list of them for MongoDB), the port being the usual one where the URL names none."""
        port = _PORTS.get(self.family) if self.scheme != "mongodb+srv" else None
        hosts = self.hosts.split(",") if self.hosts else []
        return ",".join(host if port is None or re.search(r":\d+$", host) else f"{host}:{port}" for host in hosts)

    def text(self) -> str:
        """Returns the whole URL, with its credentials: for a driver, never for a person."""
        userinfo = "" if self.user is None else self.user + ("" if self.password is None else f":{self.password}") + "@"
        return f"{self.scheme}://{userinfo}{self.hosts}{self.path}" + (f"?{self.query}" if self.query else "")

    def secrets(self) -> list[str]:
        """Returns what must not be shown: the password, and every value in the query, as written and decoded."""
        values = [value for _, value in parse_qsl(self.query)]
        values += [pair.partition("=")[2] for pair in self.query.split("&")]
        if self.password is not None:
            values += [self.password, unquote(self.password)]
        elif self.user is not None:  # a token in the place of the user
            values += [self.user, unquote(self.user)]
        return sorted({value for value in values if value}, key=len, reverse=True)


def parse(url: str, name: str = "the URL") -> Url:
    """Takes a database's URL apart.

    Args:
        url: `scheme://[user[:password]@]host[:port][,...]/path[?query]`.
        name: What to call it in messages, which never quote it.

    Raises:
        UserError: If it is not such a URL, or a password's special characters make it ambiguous.
    """
    match = _FORM.match(url)
    if match is None:
        raise UserError(f"{name} is not a URL: write scheme://user@host:port/database")
    hosts, path, rest = match["hosts"], match["path"] or "", url[match.end("hosts") :]
    local = match["scheme"].lower().startswith("sqlite")
    ambiguous = "@" in rest and ":" in hosts  # user:part-of-the-password/rest@host
    if not local and (ambiguous or not all(_HOST.fullmatch(host) for host in hosts.split(","))):
        raise UserError(f"{name} cannot be read: percent-encode special characters in its user and password (@ is %40)")
    return Url(match["scheme"].lower(), hosts, path, match["user"], match["password"], match["query"] or "")


def has_password(url: str) -> bool:
    """Says whether a URL holds something that must not be written down; one that cannot be read may."""
    try:
        parts = parse(url)
    except UserError:
        return True
    return bool(parts.password) or any(_SECRET_NAME.search(key) for key, _ in parse_qsl(parts.query))


def database_url(configured: str | None) -> Url:
    """Returns the URL of the database: the configured one, or the environment's; with the environment's password.

    Raises:
        UserError: If there is none, or it cannot be read.
    """
    given = configured or os.environ.get(DATABASE_URL)
    if not given:
        raise UserError(f"no database is named: set ingest.url (without a password) or {DATABASE_URL}")
    url = parse(given, "the database's URL" if configured else DATABASE_URL)
    password = os.environ.get(DATABASE_PASSWORD)
    if password and url.user and url.password is None:
        return Url(url.scheme, url.hosts, url.path, url.user, quote(password, safe=""), url.query)
    return url


def mask(text: str, secrets: list[str] | None = None) -> str:
    """Returns `text` with credentials replaced by `***`.

    Replaced are the user part of every URL, values that are called a password, token or key, and `secrets`, which are
    found in their plain and percent-encoded forms.

    >>> mask("mysql://root:hunter2@db/x?password=y failed")
    'mysql://***@db/x?password=*** failed'
    """
    for secret in secrets or []:
        for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
            # A short one, as a user "f" without a password, is no part of a longer word.
            whole = rf"(?<!\w){re.escape(form)}(?!\w)" if len(form) < _SHORT else re.escape(form)
            text = re.sub(whole, MASK, text)
    return _ASSIGNMENT.sub(rf"\g<name>\g<sign>{MASK}", _USERINFO.sub(MASK, text))


def masked(value: Any, name: str = "") -> Any:
    """Returns a configuration (mappings, lists, scalars) with every credential in it masked, for logs and parameters.

    >>> masked({"url": "s3://key:pw@bucket", "api_key": "x", "lr": 0.1})
    {'url': 's3://***@bucket', 'api_key': '***', 'lr': 0.1}
    """
    if isinstance(value, Mapping):
        return {key: masked(child, str(key)) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [masked(child, name) for child in value]
    if isinstance(value, str):
        return MASK if value and _SECRET_NAME.search(name) else mask(value)
    return value
