import doctest
from pathlib import Path

from jinja2 import UndefinedError

from sightline.reporting import formatting
from sightline.reporting.metric_titles import documentation, known, metric_rows
from sightline.reporting.render import render


def test_examples():
    assert doctest.testmod(formatting).failed == 0


def test_a_share_is_never_rounded_to_perfect():
    assert formatting.share(9999 / 10000) == "99.9"
    assert formatting.share(1) == "100.0"
    assert formatting.share(1 / 10000) == "0.1"
    assert formatting.share(0) == "0.0"


def test_a_difference_has_its_sign():
    assert formatting.points(-0.2) == "\N{MINUS SIGN}20.0"


def test_metrics_are_told_with_their_intervals():
    numbers = {"images": 9, "accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75, "top_3_accuracy": 1.0}
    assert list(known(numbers)) == ["accuracy", "top_3_accuracy"]
    values = {row.metric.title: (row.value, row.interval) for row in metric_rows(numbers)}
    assert values == {
        "Accuracy": ("50.0\u00a0%", "25.0 to 75.0\u00a0%"),
        "Top-3 accuracy": ("100.0\u00a0%", ""),
    }


def test_the_documentation_lists_the_metrics_of_the_table():
    page = Path("docs/evaluation.md").read_text(encoding="utf-8")
    assert "\n".join(documentation()) in page, "run python -m sightline.reporting.metric_titles and paste its table"


def test_every_template_compiles() -> None:
    """A filter is looked up by its function's name, which another name of the function takes away."""
    package = Path(formatting.__file__).parents[1]
    templates = sorted(package.rglob("*.html.j2"))
    assert templates
    for template in templates:
        try:
            render(template.parent, template.name)
        except UndefinedError:  # of the values, which are not here
            continue
