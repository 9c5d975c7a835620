"""A configuration is worked out anew when anything that it is made of has changed, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sightline.config.compose import compose, read_params, saved_overrides, typed
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.watch import config_cache

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def composed() -> config_cache.WatchedConfig:
    config = compose(saved_overrides(read_params()))
    return config_cache.WatchedConfig.of(typed(IngestConfig, config.ingest, "ingest"), config)


def test_what_was_found_good_is_recalled_as_it_was(project):
    assert config_cache.remembered() is None
    config_cache.remember(composed())
    assert config_cache.remembered() == composed()


@pytest.mark.parametrize(
    "name", ["params.yaml", "conf/config.yaml", "conf/train/default.yaml", "conf/ingest/source/folder.yaml"]
)
def test_an_edit_is_noticed(project, name):
    config_cache.remember(composed())
    with (project / name).open("a") as stream:
        stream.write("# another word\n")
    assert config_cache.remembered() is None


def test_a_new_option_and_a_removed_one_are_noticed(project):
    config_cache.remember(composed())
    (project / "conf/train/model/mine.yaml").write_text("name: cnn\n")
    assert config_cache.remembered() is None
    config_cache.remember(composed())
    (project / "conf/train/model/mine.yaml").unlink()
    assert config_cache.remembered() is None


def test_a_variable_that_a_section_reads_is_noticed(project, monkeypatch):
    config_cache.remember(composed())
    monkeypatch.setenv("SIGHTLINE_NUM_WORKERS", "2")
    assert config_cache.remembered() is None


def test_what_comes_from_the_environment_is_not_kept(project, monkeypatch):
    monkeypatch.setenv("PLACE", "/a/secret/place")
    params = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(params.replace("path: null", "path: ${oc.env:PLACE}"))
    assert composed().ingest.path == "/a/secret/place"
    config_cache.remember(composed())
    assert config_cache.remembered() is None
    assert not config_cache.MEMORY.exists()


def test_damaged_memory_is_as_good_as_none(project):
    config_cache.remember(composed())
    config_cache.MEMORY.write_text(config_cache.MEMORY.read_text()[:-40])
    assert config_cache.remembered() is None
