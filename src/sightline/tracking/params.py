"""A configuration as the parameters of a run, without what is secret."""

from __future__ import annotations

import copy
from typing import Any

from omegaconf import AnyNode, Container, DictConfig, OmegaConf

from sightline import secrets

OF_TRAINING = ("ingest", "preprocess", "train")
"""The sections that a trained model is a result of. Those of the stages behind it may change without it."""


def flat_params(config: DictConfig, *sections: str) -> dict[str, str]:
    """Returns a configuration as flat parameters: `train.model.name`, `train.lr`, ...

    What comes from the environment stays unresolved, and credentials in URLs are taken out.

    Args:
        config: The whole composed configuration.
        sections: The sections to return; none for all.
    """
    resolved = copy.deepcopy(config)
    _hide_environment(resolved)
    params: dict[str, str] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        else:
            params[path] = secrets.mask(str(node))

    walk(OmegaConf.to_container(resolved, resolve=True), "")
    return {name: value for name, value in params.items() if not sections or name.split(".")[0] in sections}


def _hide_environment(node: Any) -> None:
    """Replaces every value that reads an environment variable by the text that says so."""
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(key)
        if isinstance(child, Container) and not child._is_none() and not child._is_missing():
            if child._is_interpolation():
                continue
            _hide_environment(child)
        elif child is not None and "oc.env:" in str(child._value()):
            text = str(child._value()).replace("${", "{")
            node._set_item_impl(key, AnyNode(text)) if isinstance(node, DictConfig) else node.__setitem__(key, text)
