"""The vocabulary of configuration schemas; stands alone so that a schema costs nothing to import."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar


@dataclass
class Option:
    """Base of every option of a choice. `name` is the option's, and its file's, name."""

    name: str


T = TypeVar("T")
S = TypeVar("S")


class Registry(Mapping[str, type[T]]):
    """The options of a choice, by name. An option registers itself: a new one is one class, and one file of conf/.

    Args:
        choice: The folder of the options' files in `conf/`: `preprocess/denoise`.
        modules: Dotted name of the module that the options are in, or of a package with `.*` after it, of which every
            module is imported when an option is first asked for. None where the registering modules import it.

    Example:
        >>> COLOURS: Registry[Option] = Registry("demo/colour")
        >>> @COLOURS.register("red", "dark_red")
        ... @dataclass
        ... class Red(Option):
        ...     brightness: float
        >>> list(COLOURS), COLOURS["red"].__name__
        (['dark_red', 'red'], 'Red')
    """

    def __init__(self, choice: str, modules: str | None = None) -> None:
        self.choice = choice
        self._modules = modules
        self._options: dict[str, type[T]] = {}

    def register(self, *names: str) -> Callable[[type[S]], type[S]]:
        """Registers a class as the option of one or several names: presets of one class differ in their values.

        Raises:
            ValueError: If a name is taken by another class.
        """

        def add(option: type[S]) -> type[S]:
            for name in names:
                taken = self._options.setdefault(name, option)  # type: ignore[arg-type]  # S is any T
                if taken is not option:
                    raise ValueError(f"{self.choice}: {name} is {taken.__name__} already")
            return option

        return add

    def _discovered(self) -> dict[str, type[T]]:
        if self._modules is not None:
            modules, self._modules = self._modules, None
            package = importlib.import_module(modules.removesuffix(".*"))
            if modules.endswith(".*"):
                for module in pkgutil.iter_modules(package.__path__):
                    importlib.import_module(f"{package.__name__}.{module.name}")
        return self._options

    def __getitem__(self, name: str) -> type[T]:
        return self._discovered()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._discovered()))

    def __len__(self) -> int:
        return len(self._discovered())


def choice(options: Mapping[str, type[T]]) -> T:
    """Declares a field that holds one of `options`, by name: a folder of `conf/` with a file for each.

    The field's type is the options' common base T: no use of it needs a cast, and mypy refuses a field of another type.
    """
    field: T = dataclasses.field(metadata={"options": options})
    return field


def require(condition: bool, message: str) -> None:
    """Raises ValueError(message) unless `condition`: for range checks in `__post_init__`.

    Begin the message with the field's name; it is shown as `<stage>.<message>`.
    """
    if not condition:
        raise ValueError(message)


def require_one_of(field: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError unless `value` is one of `allowed`, naming them."""
    require(value in allowed, f"{field}: {value!r} is not one of {', '.join(allowed)}")
