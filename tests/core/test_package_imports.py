"""The collector rests while packages are imported, whatever becomes of the import."""

from __future__ import annotations

import gc

import pytest

from sightline.core.package_imports import loading


def test_the_collector_rests() -> None:
    try:
        with loading("something"):
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        with pytest.raises(ImportError), loading("what is not there"):
            raise ImportError
        assert gc.isenabled()
    finally:
        gc.unfreeze()
