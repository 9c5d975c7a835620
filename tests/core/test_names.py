"""Names: one for one thing among modules, classes and functions; nouns for classes; docstrings that name the thing."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src/sightline"

ONE_PER_PACKAGE = {
    "__init__": "Python's own name",
    "config": "the schema of the section that configures the package",
    "stage": "the work of the stage, called by its script",
    "console": "the lines that the stage prints",
    "options": "the options of the package's choices",
    "base": "the interface that the package's other modules implement",
    "tracked": "the values that the stage logs to MLflow",
}
"""Module names that many packages have, always with the same meaning."""

SAME_MODULES = {
    "api": "the interface for other programs: from Python, and over HTTP",
    "color": "the color operations, and the option that applies them",
    "dense": "the network of dense layers, and the baseline that is one",
    "occlusion": "the occlusion map, and its route of the server",
    "promote": "the package, and the command's work in it",
    "runs": "the runs in MLflow: those of the stages, and the table of them",
    "sharpness": "the measure of sharpness, and the option that changes it",
    "sql": "SQL databases: the source's options, and the connection",
    "step": "one step: of preprocessing; and the schedule that goes by steps, as the field calls it",
    "table": "a table: of metrics, and of images",
}
"""Other module names that stand in several packages, and the one meaning that they have there."""

SAME_CLASSES = {
    "Explanation": "of a prediction: as an object of the Python API, and as JSON",
    "Limits": "of inputs: the decoder's, and the server's description of them",
    "Picture": "an image in a document: the report's, and JSON",
    "Place": "where something stands: a file of a source, and the folder of the API",
    "Predictions": "of many images: a file of them, and JSON",
    "Server": "the application, and the process that serves it",
    "Step": "one step of a sequence: preprocessing, its description by the server, a schedule by steps",
    "TorchvisionOption": "an option of what torchvision offers: its networks, its datasets",
    "Worker": "a process that works for another",
}
"""Class names that stand in several modules, and why."""

SAME_FUNCTIONS = {
    "build": "of an augmentation, by each of the two engines",
    "connect": "to a service: MongoDB, an SQL database, MLflow",
    "decode": "an image: any, and the common ones faster",
    "digest": "a SHA-256, of the argument",
    "examine": "what doctor looks at",
    "export": "the stage's verb: its work, and the function of the Python API",
    "fault": "what somebody can mend: an error of one line, and a finding of doctor's",
    "fit": "a model: the network, and each baseline method",
    "ingest": "the stage's verb: its work, and the function of the Python API",
    "main": "of a program",
    "markdown": "the Markdown of a result",
    "preprocess": "the stage's verb: its work, and the function of the Python API",
    "remove_abandoned": "what killed processes have left",
    "render_page": "the HTML page of a result",
    "set_name": "what a set of images is called",
    "upsert": "rows into a database, by its kind",
    "user_errors": "a service's exceptions as errors of one line",
    "write_csv": "a file of this format",
    "write_json": "a file of this format",
}
"""Function names that stand in several modules, and the one meaning that they have there."""

MOST_PRIVATE = 5
"""Modules in which a helper's name may stand: what it means is to be seen where it is called."""

PARTICIPLES_OF_THE_FIELD = {
    "Finding": "a noun: of an audit",
    "Mixing": "a noun: MixUp and CutMix",
    "Nothing": "a noun",
    "Watershed": "the algorithm",
}
"""Classes named by a word that ends like a participle and is a noun or a term of the field."""

UNNAMED = {"said", "told", "why"}
"""Names that say nothing of what a variable holds: a text, a reason."""
NO_NOUN = re.compile(r"(What|Which|Where|How|That|When|Why|Who|Whose)\b")
DESCRIBED = re.compile(r"^ +(?!\w*(?:Error|Exception|Interrupt|Exit):)\w+: (.*)", re.MULTILINE)
"""The text of an attribute or argument in a docstring; not of an exception, which says when it is raised."""
PARTICIPLE = re.compile(r"[A-Z][a-z]+(ed|ing)|Kept|Held|Known|Given|Found|Lost|Sent|Told|Made|Done|Seen|Drawn")


@cache
def trees() -> dict[str, ast.Module]:
    """Returns the syntax tree of every module, by its path in the package."""
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def classes() -> dict[str, list[str]]:
    """Returns the modules that define a class of each name; a leading underscore makes no other name."""
    places = defaultdict(list)
    for module, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(module)
    return places


def test_the_packages_top_holds_packages_only() -> None:
    loose = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert loose == {"__init__.py", "py.typed"}


def test_a_module_name_has_one_meaning() -> None:
    places = defaultdict(list)
    for module in trees():
        path = Path(module)
        # Modules of the command and of the Python API are named for the packages whose verbs or things they hand out.
        if path.parent.name not in ("api", "cli"):
            places[path.parent.name if path.stem == "__init__" else path.stem].append(module)
    several = {name: found for name, found in places.items() if len(found) > 1 and name not in ONE_PER_PACKAGE}
    assert set(several) <= set(SAME_MODULES), {n: p for n, p in several.items() if n not in SAME_MODULES}


def test_a_class_name_has_one_meaning() -> None:
    several = {name: found for name, found in classes().items() if len(found) > 1}
    assert set(several) <= set(SAME_CLASSES), {n: p for n, p in several.items() if n not in SAME_CLASSES}


def functions() -> dict[str, list[tuple[str, bool]]]:
    """Returns the modules that define a function of each name, and whether it is public there.

    Verbs of the command are named as the work that they start, rules of `init` as the settings that they choose.
    """
    places = defaultdict(list)
    for module, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and named_for_itself(module):
                places[node.name.lstrip("_")].append((module, not node.name.startswith("_")))
    return places


def named_for_itself(module: str) -> bool:
    """Says whether functions of a module are named for what they do themselves."""
    return not module.startswith("cli/") and module != "project_setup/rules.py"


def test_a_function_name_has_one_meaning() -> None:
    several = {name: [module for module, public in found if public] for name, found in functions().items()}
    several = {name: modules for name, modules in several.items() if len(modules) > 1}
    assert set(several) <= set(SAME_FUNCTIONS), {n: p for n, p in several.items() if n not in SAME_FUNCTIONS}
    frequent = {name: found for name, found in functions().items() if len(found) > MOST_PRIVATE}
    assert set(frequent) <= set(SAME_FUNCTIONS), frequent


def test_the_lists_of_shared_names_hold_no_name_that_is_not_shared() -> None:
    shared = {name for name, found in functions().items() if len(found) > 1}
    assert set(SAME_FUNCTIONS) <= shared
    assert set(SAME_CLASSES) <= {name for name, found in classes().items() if len(found) > 1}


def test_no_class_is_a_bare_participle() -> None:
    bare = {name for name in classes() if PARTICIPLE.fullmatch(name)}
    assert bare <= set(PARTICIPLES_OF_THE_FIELD)


def test_a_variable_is_named_by_what_it_holds() -> None:
    texts = {str(path): path.read_text() for path in sorted(Path(__file__).parents[1].rglob("*.py"))}
    tests = {module: ast.parse(text) for module, text in texts.items() if re.search(r"\b(said|told)\b", text)}
    named = (
        (module, node.lineno)
        for module, tree in {**trees(), **tests}.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.arg | ast.FunctionDef)
        and {getattr(node, field, "") for field in ("id", "arg", "name")}
        & ({"said", "told"} if module in tests else UNNAMED)
    )
    assert list(named) == []


def test_every_module_has_a_docstring() -> None:
    assert [module for module, tree in trees().items() if not ast.get_docstring(tree)] == []


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields the docstrings of a module, its classes, functions and constants, each with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                yield node.body[0].lineno, text
            for before, after in pairwise(node.body):
                match before, after:
                    case ast.Assign() | ast.AnnAssign(), ast.Expr(ast.Constant(str(text))):
                        yield after.lineno, text


def test_a_docstring_names_the_thing() -> None:
    """So does the text of an attribute or argument; where it is true or false, "Whether" is the field's own word."""
    offending = [
        f"{module}:{line}: {text}"
        for module, tree in trees().items()
        for line, docstring in docstrings(tree)
        for text in (docstring.splitlines()[0], *DESCRIBED.findall(docstring))
        if NO_NOUN.match(text)
    ]
    assert offending == []


LEVELS = (
    {"cli", "api"},
    {
        "stages",
        "predict",
        "serve",
        "compare",
        "promote",
        "runs",
        "changes",
        "doctor",
        "project_setup",
        "sweep",
        "drift",
        "review",
    },
    {"sources", "models", "metrics", "reporting", "tracking", "datasets"},
    {"imaging"},
    {"config"},
    {"core"},
)
"""The packages from top to bottom, as README.md has them: each imports its own level and those below."""


def package_imports() -> dict[tuple[str, str], set[str]]:
    """Returns the modules that import from another package, by the two packages' names, the importing one first."""
    arrows = defaultdict(set)
    for module, tree in trees().items():
        own = Path(module).parts[0]
        for name in imported_names(tree):
            other = name.split(".")[1]
            if other != own and (PACKAGE / own).is_dir() and (PACKAGE / other).is_dir():
                arrows[own, other].add(module)
    return arrows


def imported_names(tree: ast.Module) -> set[str]:
    """Returns the dotted names in the package that a module imports, wherever the import stands."""
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        f"{node.module}.{alias.name}"
        for node in statements
        if (node.module or "").partition(".")[0] == "sightline"
        for alias in node.names
    }


def test_no_package_imports_one_above_it() -> None:
    level = {package: number for number, packages in enumerate(LEVELS) for package in packages}
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} == set(level)
    assert {(own, other) for own, other in package_imports() if level[other] < level[own]} == set()


def test_packages_import_each_other_in_no_circle() -> None:
    below: dict[str, set[str]] = defaultdict(set)
    for own, other in package_imports():
        below[own].add(other)
    TopologicalSorter(below).prepare()  # raises CycleError, which names the circle


def test_no_stage_imports_another() -> None:
    stages = {path.parent.name for path in (PACKAGE / "stages").glob("*/__init__.py")}
    arrows = {
        (Path(module).parts[1], name.split(".")[2])
        for module, tree in trees().items()
        if Path(module).parts[0] == "stages"
        for name in imported_names(tree)
        if name.startswith("sightline.stages.")
    }
    # What is watched is the source that the section `ingest` chooses, read by that section's own schema.
    assert {(own, other) for own, other in arrows if own != other and {own, other} <= stages} == {("watch", "ingest")}
