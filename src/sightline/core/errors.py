"""Errors caused by user input or by the machine, as one line that says what to do."""

from __future__ import annotations

import builtins
import errno
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

DISTRIBUTION = "sightline-vision"
"""The package's name on package indexes, where `sightline` belongs to somebody else."""


class UserError(Exception):
    """An error outside the program. The message is one line that names the thing and the remedy."""


class ConfigError(UserError):
    """A configuration that cannot be used; the message names the key, what is wrong and what is allowed."""


class PrunedError(UserError):
    """A job of a sweep that was stopped early because it did worse than others after as many epochs."""


def ambiguous(beginning: str, things: str, names: Iterable[str]) -> UserError:
    """Returns the error for a prefix that matches several names.

    Args:
        beginning: The prefix that was given.
        things: A noun for the named things, in the plural.
        names: The matching names, of which the message lists the first five.
    """
    return UserError(
        f"{beginning}: several {things} begin with this; give more characters: {', '.join(sorted(names)[:5])}"
    )


def not_installed(package: str | None, extra: str) -> UserError:
    """Returns the error for a missing package that an extra would install."""
    return UserError(f"{package} is not installed: {how_to_install(extra)}")


def how_to_install(extra: str) -> str:
    """Returns the command that installs an extra from the clone or wheel that this program was installed from."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution
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


# --- errors of the machine -------------------------------------------------------------------------------------------

WRITING = "while writing "
"""Prefix of the note that `sightline.core.files` adds to errors: few errors of a full disk name the file."""

_MESSAGES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk's quota is used up",
    errno.EFBIG: "the file would be larger than this process may write",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open on this machine",
    errno.EIO: "the disk reports an error",
    errno.ESTALE: "the network drive does not answer",
}
_PHRASES = {
    **{re.escape(os.strerror(code)): code for code in _MESSAGES},
    "database or disk is full": errno.ENOSPC,  # SQLite, as are the next three
    "readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
    "disk I/O error": errno.EIO,
    "file write failed": errno.ENOSPC,  # torch hides the reason, in two ways; so does NumPy
    "unexpected pos": errno.ENOSPC,
    r"\d requested and \d+ written": errno.ENOSPC,
}
UNNAMED = "standard output, or a temporary file"
"""The place in messages when neither the error nor the note of a writer names a file."""
_FOREIGN = (OSError, RuntimeError, ImportError, SystemError)
"""Built-in exceptions that libraries raise when the machine fails; all other built-in ones are bugs."""
_TEMPORARY = re.compile(r"\.([^/]+)\.\w+\.(?:tmp|old)(?=/|$)")


def fault(error: BaseException) -> UserError | None:
    """Returns an error that the user can fix as a one-line UserError, and None for a bug in the program.

    Apart from `UserError` itself, these are failures of the machine, whatever exception a library raises for them: a
    full disk, a folder without write permission, too many open files. The line names the path and the remedy.
    """
    if isinstance(error, UserError):
        return error
    for each in _chain(error):
        code = _code(each)
        if code is not None:
            path = _path(each)
            place = path or ("the program" if code in (errno.EMFILE, errno.ENFILE) else UNNAMED)
            return UserError(f"{place}: {_MESSAGES[code]}{_remedy(code, path)}")
    return None


def is_shortage(error: OSError) -> bool:
    """Returns whether an error is a shortage of the machine, which is no reason to refuse the file being read."""
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields the error and its causes, up to the first built-in exception that only a bug raises."""
    while error is not None and (isinstance(error, _FOREIGN) or not hasattr(builtins, type(error).__name__)):
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _MESSAGES else None
    text = str(error)
    return next((code for phrase, code in _PHRASES.items() if re.search(phrase, text)), None)


def _path(error: BaseException) -> Path | None:
    """Returns the file that an error names, else the one that was being written; None if neither is known."""
    named = getattr(error, "filename", None)
    if not isinstance(named, str | bytes):
        notes = [note.removeprefix(WRITING) for note in getattr(error, "__notes__", ()) if note.startswith(WRITING)]
        quoted = re.findall(r"'([^'\n]+)'", str(error))
        if not notes and not quoted:
            return None
        named = (notes or quoted)[0]
    path = Path(_TEMPORARY.sub(r"\1", os.fsdecode(named)))  # the final name instead of the temporary one
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) and path != Path.cwd() else path


def _remedy(code: int, path: Path | None) -> str:
    """Returns the remedy for a failure at `path`, to be appended to the description."""
    there = (path or Path()).absolute()
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    quoted, again = shlex.quote(str(there)), "and run the same command again"
    match code:
        case errno.ENOSPC | errno.EDQUOT if path is None:
            return f": free some space there, {again}"
        case errno.ENOSPC | errno.EDQUOT:
            import shutil

            return f" ({shutil.disk_usage(there).free / 2**20:,.1f} MiB are free): free some space there, {again}"
        case errno.EFBIG:
            return f": ulimit -f unlimited, {again}"
        case errno.EROFS:
            mount = next(folder for folder in (there, *there.parents) if folder.is_mount() or folder == folder.parent)
            return f": mount -o remount,rw {shlex.quote(str(mount))}, or work in a copy of the project elsewhere"
        case errno.EACCES | errno.EPERM:
            return f": {_permission(there, quoted)}, {again}"
        case errno.EMFILE:
            import resource

            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            more = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
            return f" ({soft} are allowed): {f'ulimit -n {more}' if more > soft else 'have the limit raised'}, {again}"
        case errno.ENFILE:
            return f": end other programs, {again}"
        case _:
            return ": see what `dmesg` says about it, or work in a copy of the project elsewhere"


def _permission(there: Path, quoted: str) -> str:
    import pwd

    if os.geteuid() == 0:
        return f"chattr -i {quoted} if it is immutable"
    owner = there.lstat().st_uid
    if owner == os.geteuid():
        return f"chmod -R u+rwX {quoted}"
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container
        name = str(os.geteuid())
    return f"sudo chown -R {name} {quoted}"
