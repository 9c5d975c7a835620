"""The options of augmented copies of training images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from sightline.config.schema import Option, Registry, require
from sightline.imaging.augment.options import POLICIES, NoAugment

MAX_COPIES = 100


def _check_copies(copies: int) -> None:
    require(1 <= copies <= MAX_COPIES, f"copies: must be 1 to {MAX_COPIES}, not {copies}; augment=none makes none")


@dataclass
class NoCopies(NoAugment):
    """No augmented copies. Attributes: copies, always 0."""

    copies: int

    def __post_init__(self) -> None:
        require(self.copies == 0, "copies: augment=none leaves images as they are; choose another policy for copies")


AUGMENT: Registry[Option] = Registry("preprocess/augment")
AUGMENT.register("none")(NoCopies)


def _with_copies(policy: type[Option]) -> type[Option]:
    """Returns the option of a policy for copies: the policy's fields, plus `copies` of each training image."""

    def check(self: Any) -> None:
        policy.__post_init__(self)  # type: ignore[attr-defined]
        _check_copies(self.copies)

    fields = {"__post_init__": check, "__doc__": f"Copies by `{policy.__name__}`. Attributes: copies of each image."}
    return dataclasses.make_dataclass(f"{policy.__name__}Copies", [("copies", int)], bases=(policy,), namespace=fields)


for _policy in {POLICIES[name] for name in POLICIES if name != "none"}:
    AUGMENT.register(*(name for name in POLICIES if POLICIES[name] is _policy))(_with_copies(_policy))


def policy_and_copies(option: Option) -> tuple[dict[str, Any], int]:
    """Splits an option of `AUGMENT` into its policy (of `imaging.augment.options.POLICIES`, as a dict) and copies."""
    policy = dataclasses.asdict(option)
    return policy, policy.pop("copies")
