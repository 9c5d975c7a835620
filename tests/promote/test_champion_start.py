"""The champion as the model that training starts from: found in MLflow's registry, its weights in its run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sightline import tracking
from sightline.core.errors import UserError
from sightline.models import start_lookup, start_model
from sightline.promote import promote
from sightline.promote.config import PromoteConfig
from tests.exported import Project
from tests.promote.conftest import Candidate


def test_the_champions_weights_come_from_the_run_that_trained_it(
    make: Callable[..., Candidate], policy: PromoteConfig, exported: Project
) -> None:
    with pytest.raises(UserError, match=r"^train.start_from: the registered model '.*' has no champion yet"):
        start_lookup.find_start("champion", policy.name)
    candidate = make()
    assert promote.promote(candidate.bundle, candidate.predictions, policy).promoted
    with pytest.raises(
        UserError, match=r"the weights of champion \(\w{8}\) are in no run of MLflow: run sightline sync"
    ):
        start_lookup.find_start("champion", policy.name)

    client, experiment = tracking.connect()
    digest = start_lookup.find_start(str(exported.model), policy.name).digest
    (start_model.FOLDER / digest).rename(start_model.FOLDER / "elsewhere")  # it is to come from MLflow
    run = tracking.run_of_model(client, experiment, digest, {})
    for name in ("model.safetensors", "model.json"):
        client.log_artifact(run, str(exported.model / name), "model")
    for name in ("champion", f"models:/{policy.name}/1"):
        found = start_lookup.find_start(name, policy.name)
        assert found.digest == digest
        assert found.info.classes == [str(digit) for digit in range(10)]
        assert start_model.kept(digest)
