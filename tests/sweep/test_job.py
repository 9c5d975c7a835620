"""A job's digest: of what its result follows from, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.core.errors import UserError
from sightline.sweep.extent import extent
from sightline.sweep.job import JobFactory


def test_a_digest_is_of_all_that_a_result_follows_from_and_of_nothing_else(project: Path) -> None:
    words = ["train.lr=0.1", "preprocess.size=24"]
    job = JobFactory().job(words)
    params, option = project / "params.yaml", project / "conf/train/model/cnn.yaml"
    same = JobFactory()
    assert same.job(["preprocess.size=24", "train.lr=1e-1"]).digest == job.digest
    params.write_text(params.read_text().replace("gallery: 24", "gallery: 23"))  # of evaluate
    option.write_text(option.read_text() + "# a comment\n")
    assert JobFactory().job(words).digest == job.digest
    assert job.data == same.job(["preprocess.size=24"]).data
    assert "size: 24" in job.data_params
    assert "lr: 0.1 " in job.params
    assert "lr: 0.002" in job.data_params

    others = [same.job(changed) for changed in (["train.lr=0.1"], [*words, "train.seed=1"], [*words, "ingest.limit=9"])]
    option.write_text(option.read_text().replace("width: ", "width: 1", 1))
    others.append(JobFactory().job(words))
    assert len({job.digest, *(other.digest for other in others)}) == 5
    assert [other.data == job.data for other in others] == [False, True, False, True]


def test_a_job_that_cannot_be_is_one_line(project: Path) -> None:
    with pytest.raises(UserError, match=r"train\.lr: must be positive and finite, not -1"):
        JobFactory().job(["train.lr=-1"])
    with pytest.raises(UserError, match=r"train\.model: no option 'dens'; did you mean 'dense'"):
        JobFactory().job(["train/model=dens"])


def test_a_job_beyond_the_training_has_a_digest_of_its_own_and_shares_its_training(project: Path) -> None:
    (one, _), (export, _) = extent(["train"], []), extent(["export"], [])
    plain = JobFactory(one).job(["train.lr=0.1"])
    jobs = [JobFactory(export).job(["train.lr=0.1", f"export.opset={opset}"]) for opset in (18, 19)]
    assert {job.training for job in jobs} == {plain.digest} == {plain.training}
    assert len({plain.digest, *(job.digest for job in jobs)}) == 3
    assert "opset: 18" in jobs[0].params
    assert "opset" not in jobs[0].data_params
