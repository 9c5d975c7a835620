import dataclasses

import pytest


def test_defaults_are_in_range(config):
    assert config.batch_size >= 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("top_k", 1),
        ("per_class_limit", -1),
        ("gallery", -1),
        ("gallery", 201),
        ("seed", -1),
        ("resamples", 99),
        ("target_accuracy", 0.0),
        ("target_accuracy", 1.1),
        ("slice_min_images", 0),
        ("robustness_images", -1),
    ],
)
def test_out_of_range_names_the_field(config, field, value):
    with pytest.raises(ValueError, match=rf"^{field}: ({value} |must be .*, not {value}$)"):
        dataclasses.replace(config, **{field: value})
