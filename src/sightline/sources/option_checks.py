"""Range checks that the options of several sources share."""

from __future__ import annotations

from sightline.config.schema import require
from sightline.core.credentials import DATABASE_PASSWORD, DATABASE_URL, credential_in


def require_one_place(path: str | None, url: str | None) -> None:
    """Raises ValueError unless a source has exactly one location, and no credentials in its URL."""
    require(path is None or url is None, "path: set ingest.path or ingest.url, not both")
    require(path is not None or url is not None, "path: has no value; set ingest.path (or ingest.url)")
    if url is not None:
        scheme = url.partition("://")[0]
        require(
            "://" in url and scheme not in ("file", "local") and "::" not in url,
            "url: must be the URL of a service, such as s3://bucket/folder; for files on disk, set ingest.path",
        )
        # Configuration is recorded by DVC (dvc.lock) and MLflow (parameters).
        part = credential_in(url)
        require(
            part is None,
            f"url: must not contain credentials, as {part} may be; set them in the environment, as the service's own "
            "tools take them, or download what is there and set ingest.path",
        )


def require_no_credentials(url: str | None) -> None:
    """Raises ValueError if a database's URL contains a password or another credential."""
    # The configuration is recorded by DVC (dvc.lock) and MLflow (parameters), whatever it was composed from.
    part = None if url is None else credential_in(url)
    require(
        part is None,
        f"url: must not contain credentials, as {part} may be (the configuration is recorded); in the environment set "
        f"{DATABASE_PASSWORD}, or {DATABASE_URL} to the whole URL with ingest.url=null",
    )
