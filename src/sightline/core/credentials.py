"""Credentials: taken from the environment, and kept out of everything that is written.

A password never goes into the configuration, which DVC and MLflow record: a database's URL may be configured without
one, and the password, or the whole URL, comes from the environment.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from sightline.core.errors import UserError

DATABASE_URL = "SIGHTLINE_DATABASE_URL"
"""Environment variable with a database's whole URL, used if the configuration has none."""

DATABASE_PASSWORD = "SIGHTLINE_DATABASE_PASSWORD"  # noqa: S105 - a variable's name
"""Environment variable with the password of the user in a database's URL."""

MASK = "***"
_SHORT = 4

_PORTS = {"mysql": 3306, "mariadb": 3306, "postgresql": 5432, "postgres": 5432, "mongodb": 27017}
_FORM = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:(?P<user>[^/?#:]*)(?::(?P<password>[^/?#]*))?@)?"
    r"(?P<hosts>[^/?#@]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+)(:\d{1,5})?")
_IN_TEXT = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s\"<>]*)")
_QUERY_ALONE = re.compile(r"(?<=\?)(?=[^\s\"<>]*=)[^\s\"<>]+")
_CLOSING = ")'],.:;`"  # punctuation of the sentence around a URL
_NAMES = r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|credential|signature|(?:api|access|private)[_-]?key)"
_SHORT_NAMES = r"(?:sig|sas|jwt|hmac|auth[_-]?key|ssl[_-]?key|authorization)"
_ASSIGNMENT = re.compile(
    rf"""(?P<name>[\w-]*{_NAMES}[\w-]*|(?<![\w-]){_SHORT_NAMES})(?P<sign>["']?\s*[=:]\s*["']?)"""
    r"""(?P<value>(?:(?:bearer|basic)\s+)?[^\s&"',;]+)""",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z][A-Za-z_.-]{0,39}")

_WITH_USER = {*_PORTS, "sftp", "ssh", "hdfs", "webhdfs", "ftp", "smb", "abfs", "abfss", "wasb", "wasbs"}
"""Schemes of URLs in which a name before the `@` is needed, and is no secret: it names a user or a container."""

_WITH_QUERY = {*_PORTS, "http", "https"}
"""Schemes of URLs in which the part after `?` or `#` does not belong to a file's name."""

_KNOWN = """
    charset region versionid version generation format download raw dl lang ref rev revision prefix delimiter

    collation use_unicode connect_timeout read_timeout write_timeout unix_socket autocommit compress program_name
    ssl ssl_ca ssl_capath ssl_cert ssl_cipher ssl_mode ssl_disabled ssl_verify_cert ssl_verify_identity

    sslmode sslrootcert sslcert sslcrl sslsni sslnegotiation ssl_min_protocol_version ssl_max_protocol_version
    application_name fallback_application_name client_encoding options target_session_attrs load_balance_hosts
    host hostaddr port dbname keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout
    gssencmode krbsrvname channel_binding require_auth

    mode cache uri vfs immutable nolock timeout check_same_thread isolation_level

    authsource authmechanism replicaset tls tlscafile tlsinsecure tlsallowinvalidcertificates
    tlsallowinvalidhostnames tlsdisableocspendpointcheck retrywrites retryreads w wtimeoutms journal readpreference
    readpreferencetags readconcernlevel maxstalenessseconds maxpoolsize minpoolsize maxidletimems maxconnecting
    waitqueuetimeoutms connecttimeoutms sockettimeoutms serverselectiontimeoutms heartbeatfrequencyms
    localthresholdms timeoutms appname compressors zlibcompressionlevel directconnection loadbalanced
    srvservicename srvmaxhosts uuidrepresentation unicode_decode_error_handler tz_aware servermonitoringmode

    workflowtype viewstatesharekey
"""
_HARMLESS = frozenset(_KNOWN.split())
"""Names of query parameters, in lower case, whose values are not credentials: those of the web and object stores,
MySQL, PostgreSQL, SQLite, MongoDB and MLflow's pages. Any other parameter may hold one."""


@dataclass(frozen=True)
class Url:
    """The parts of a database's URL; its representation shows no credentials.

    Attributes:
        scheme: In lower case, e.g. `mysql+pymysql`.
        hosts: `host[:port]`, for MongoDB a comma-separated list of them; empty for SQLite.
        path: From the `/` on: the database's name, or SQLite's file.
        user: As written in the URL (percent-encoded), or None.
        password: As written in the URL (percent-encoded), or None.
        query: The part after the `?`.
        setting: The configuration key or command-line option that can also set the URL, for error messages.
    """

    scheme: str
    hosts: str
    path: str
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    query: str = field(repr=False)
    setting: str = field(default="ingest.url", compare=False)

    @property
    def family(self) -> str:
        """The scheme without a driver: `mysql` for `mysql+pymysql`."""
        return self.scheme.partition("+")[0]

    @property
    def location(self) -> str:
        """The URL without user, password and query: safe for messages, fingerprints and logs."""
        return f"{self.scheme}://{self.hosts}{self.path}"

    @property
    def address(self) -> str:
        """`host:port` (a list of them for MongoDB), with the default port if the URL has none."""
        port = _PORTS.get(self.family) if self.scheme != "mongodb+srv" else None
        hosts = self.hosts.split(",") if self.hosts else []
        return ",".join(host if port is None or re.search(r":\d+$", host) else f"{host}:{port}" for host in hosts)

    def text(self) -> str:
        """Returns the whole URL with its credentials: for a driver, never for display."""
        userinfo = "" if self.user is None else self.user + ("" if self.password is None else f":{self.password}") + "@"
        return f"{self.scheme}://{userinfo}{self.hosts}{self.path}" + (f"?{self.query}" if self.query else "")

    def secrets(self) -> list[str]:
        """Returns the values that must not be shown: the password and all query values, as written and decoded."""
        values = [value for _, value in parse_qsl(self.query)]
        values += [pair.partition("=")[2] for pair in self.query.split("&")]
        values += [pair for pair in self.query.split("&") if "=" not in pair.rstrip("=")]  # a bare token
        if self.password is not None:
            values += [self.password, unquote(self.password)]
        elif self.user is not None:  # may be a token in place of a user name
            values += [self.user, unquote(self.user)]
        return sorted({value for value in values if value}, key=len, reverse=True)


def parse_url(url: str, name: str = "the URL") -> Url:
    """Parses a database's URL.

    Args:
        url: `scheme://[user[:password]@]host[:port][,...]/path[?query]`.
        name: A name for the URL in messages, which never quote it.

    Raises:
        UserError: If it is not such a URL, or special characters in a password make it ambiguous.
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


def credential_in(url: str) -> str | None:
    """Returns a description of the part of a URL that is or may be a credential; None if there is none.

    A name before the `@` counts as one if URLs of this scheme do not need it, and so does any part of the query that is
    not known to be harmless. A URL that cannot be parsed may contain anything.

    >>> credential_in("https://host/a.zip?versionId=3&sig=x"), credential_in("mysql://user@host/images?charset=utf8")
    ('`sig`', None)
    """
    match = _FORM.match(url)
    try:
        parts = parse_url(url)
    except UserError:
        match = None
    if match is None:
        return "the part that cannot be read"
    if parts.password:
        return "its password"
    if parts.user and parts.family not in _WITH_USER:
        return "the part before the @"
    for piece in _pieces(f"{parts.query}&{match['fragment'] or ''}"):
        if not _harmless(piece, parts.family):
            name = piece.partition("=")[0]
            return f"`{name}`" if _named(piece) else "the part after the ?"
    return None


def require_harmless(url: str | None) -> None:
    """Refuses a URL on the command line that contains a credential (see `credential_in`): others could read it there.

    Raises:
        UserError: If it contains one.
    """
    if url is not None and (part := credential_in(url)):
        raise UserError(
            f"--url: must not contain credentials, as {part} may be: the shell's history and the list of processes "
            f"would show them; set {DATABASE_PASSWORD} in the environment, or leave out --url and set {DATABASE_URL} "
            "there to the whole URL"
        )


def _pieces(query: str) -> list[str]:
    """Returns the pieces of a query, `name=value` or something else."""
    return re.split("[&;?#]", query)


_MLFLOW_PAGE = re.compile(r"/experiments/\d+/runs(/[0-9a-f]{32})?")
"""The fragment of the address of a page in MLflow, after the `#`."""


def _harmless(piece: str, family: str) -> bool:
    name, sign, value = piece.partition("=")
    if sign and value.strip("="):
        return unquote(name).lower() in _HARMLESS
    if not piece or _MLFLOW_PAGE.fullmatch(piece):
        return True
    return family not in _WITH_QUERY  # a `?` in the name of an object in a store, or in a pattern


def _named(piece: str) -> bool:
    """Returns whether a piece has a value and a name that can be shown; a bare token may end in `=`."""
    name, _, value = piece.partition("=")
    return bool(value.strip("=")) and _WORD.fullmatch(name) is not None


def database_url(configured: str | None, setting: str = "ingest.url") -> Url:
    """Returns the URL of the database: the configured one or the environment's, with the environment's password.

    Args:
        configured: The value of `setting`, or None.
        setting: See `Url`.

    Raises:
        UserError: If there is none, or it cannot be parsed.
    """
    given = configured or os.environ.get(DATABASE_URL)
    if not given:
        raise UserError(f"no database is named: set {setting} (without a password) or {DATABASE_URL}")
    url = replace(parse_url(given, "the database's URL" if configured else DATABASE_URL), setting=setting)
    password = os.environ.get(DATABASE_PASSWORD)
    if password and url.user and url.password is None:
        return replace(url, password=quote(password, safe=""))
    return url


def mask(text: str, secrets: list[str] | None = None) -> str:
    """Returns `text` with credentials replaced by `***`.

    Masked are: in every URL, the part before an `@`, and the query except for values known to be harmless; values with
    a name like password, token or key; and `secrets`, in their plain and percent-encoded forms.

    >>> mask("mysql://root:hunter2@db/x?password=y&charset=utf8 failed")
    'mysql://***@db/x?password=***&charset=utf8 failed'
    """
    for secret in secrets or []:
        for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
            # A short one, such as a user "f" without a password, must not match within a longer word.
            whole = rf"(?<!\w){re.escape(form)}(?!\w)" if len(form) < _SHORT else re.escape(form)
            text = re.sub(whole, MASK, text)
    text = _IN_TEXT.sub(_masked_url, text)
    text = _QUERY_ALONE.sub(lambda match: _masked_query(match[0], "http"), text)
    return _ASSIGNMENT.sub(rf"\g<name>\g<sign>{MASK}", text)


def _masked_url(match: re.Match[str]) -> str:
    scheme, rest = match["scheme"], match["rest"]
    user, at, place = rest.rpartition("@")
    if at and re.search("[?#]", user):  # an @ in the query, or special characters in a password: ambiguous
        return f"{scheme}://{MASK}"
    place, mark, query = re.match(r"([^?#]*)([?#]?)(.*)", place, re.DOTALL).groups()  # type: ignore[union-attr]
    family = scheme.lower().partition("+")[0]
    return f"{scheme}://{MASK + at if at else ''}{place}{mark}{_masked_query(query, family)}"


def _masked_query(query: str, family: str) -> str:
    body = query.rstrip(_CLOSING)
    parts = re.split("([&;?#])", body)
    for place in range(0, len(parts), 2):
        piece = parts[place]
        if not _harmless(piece, family):
            parts[place] = f"{piece.partition('=')[0]}={MASK}" if _named(piece) else MASK
    return "".join(parts) + query.removeprefix(body)
