"""The vocabulary of configuration schemas; it imports nothing else, so a schema costs nothing to import."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar


@dataclass
class Option:
    """Base class of the options of a choice. `name` is the name of the option and of its file."""

    name: str


T = TypeVar("T")
S = TypeVar("S")


class Registry(Mapping[str, type[T]]):
    """The options of a choice, by name. Options register themselves: a new one is one class and one file in conf/.

    Args:
        choice: The folder of the options' files in `conf/`: `preprocess/denoise`.
        modules: Dotted name of the module with the options, or of a package followed by `.*`, all of whose modules are
            imported when an option is first looked up. None if the registering modules import this registry.

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
        """Registers a class as the option of one or several names: presets of one class that differ in their values.

        Raises:
            ValueError: If a name is already taken by another class.
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

    The field's type is the options' common base class T, so that no use of it needs a cast and mypy rejects any other
    type.
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
