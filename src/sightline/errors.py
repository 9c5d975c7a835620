"""Faults that the user can mend."""

from __future__ import annotations

DISTRIBUTION = "sightline-vision"
"""The package's name where packages are kept; `sightline` is somebody else's there."""


class UserError(Exception):
    """Something outside the program is wrong. The message is one line that names the thing and the remedy."""


class ConfigError(UserError):
    """A configuration that cannot be used: the key, what is wrong, what is allowed."""


def not_installed(package: str | None, extra: str) -> UserError:
    """Returns the error for a package that one of the extras brings."""
    return UserError(f"{package} is not installed: {how_to_install(extra)}")


def how_to_install(extra: str) -> str:
    """Returns the command that installs an extra, from the clone or the wheel that this program was installed from."""
    import json
    import shlex
    from importlib.metadata import PackageNotFoundError, distribution
    from pathlib import Path
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        origin = json.loads(distribution(DISTRIBUTION).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:  # run from a folder on PYTHONPATH
        origin = {}
    url = urlsplit(origin.get("url", ""))
    path = Path(url2pathname(url.path))
    if url.scheme != "file" or not path.exists():
        return f"pip install '.[{extra}]' in a clone of Sightline"
    place = "." if path == Path.cwd() else str(path)
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f"pip install {editable}{shlex.quote(f'{place}[{extra}]')}"
