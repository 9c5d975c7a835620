"""Networks of the timm library (Wightman 2019), created and loaded."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from sightline.core.errors import UserError, how_to_install
from sightline.models import packaged_weights, pretrained


def create(
    model_name: str,
    extra: Mapping[str, Any],
    weights: str | None,
    shape: tuple[int, int, int],
    num_classes: int,
    packaged: str = "",
) -> nn.Module:
    """Creates a network of timm.

    Networks with a fixed input size, such as vision transformers, are built for the images' size. Stems are not
    changed (`extra` passes arguments to timm's builder). timm adapts pretrained weights to the size and the channels;
    the last layer is always new.

    Args:
        model_name: timm's name.
        extra: Further arguments of its builder.
        weights: See `PretrainableOption`.
        shape: (height, width, channels) of the images.
        num_classes: Number of logits.
        packaged: The network's name in `packaged_weights.DISTRIBUTIONS`, if it has one.

    Raises:
        UserError: If timm is not installed or has no such network, or pretrained weights are unavailable or do not fit.
    """
    try:
        import timm
    except ModuleNotFoundError:
        raise UserError(f"train.model: timm is not installed: {how_to_install('timm')}") from None
    if not timm.is_model(model_name):
        near = difflib.get_close_matches(model_name, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UserError(f"train.model.model_name: timm {timm.__version__} has no {model_name!r}{hint}")
    height, width, channels = shape
    arguments: dict[str, Any] = {"in_chans": channels, "num_classes": num_classes, **extra}
    try:
        known = timm.get_pretrained_cfg(model_name)
        if known is not None and known.fixed_input_size:
            arguments.setdefault("img_size", (height, width))
        network: nn.Module = timm.create_model(model_name, **arguments)
        _try(network, (2, channels, height, width))
    except (TypeError, ValueError, RuntimeError, AssertionError, AttributeError) as error:
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"train.model: timm cannot build {model_name} with these settings: {detail}") from None
    name = head(network, model_name)
    if weights is not None:
        # Built a second time, because timm loads weights while it builds the network, and adapts them to the size and
        # the channels in a way specific to the family. It does not report missing weights, so a file is checked first.
        overlay: dict[str, Any] = {"num_classes": 0}  # a number that differs from ours makes timm skip the last layer
        if weights == "DEFAULT":
            _require_hub(model_name)
        else:
            overlay["state_dict"] = _state(weights, model_name, network, name, packaged or model_name)
        try:
            network = timm.create_model(model_name, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
        except Exception as error:  # the hub client also raises the errors of its HTTP library
            detail = (str(error).splitlines() or [type(error).__name__])[0]
            if weights == "DEFAULT":
                raise _not_downloaded(model_name, error) from None
            raise UserError(f"train.model.weights: {weights} does not fit {model_name}: {detail}") from None
    return network


@torch.no_grad()
def _try(network: nn.Module, shape: tuple[int, ...]) -> None:
    """Runs a batch through the network: most networks fail on unsupported image sizes only then."""
    network.eval()(torch.zeros(shape))
    network.train()


def head(network: nn.Module, name: str) -> str:
    """Returns the name of the last layer of timm's network `name`.

    Raises:
        UserError: If that is not a single linear layer.
    """
    classifier: Any = network.get_classifier()  # type: ignore[operator]  # a method of every network of timm
    if not isinstance(classifier, nn.Linear):
        raise UserError(f"train.model.model_name: {name} is not supported: its head is not a single linear layer")
    path: str = next(path for path, module in network.named_modules() if module is classifier)
    return path


def _require_hub(model_name: str) -> None:
    """Checks with one request that the hub is reachable, unless the weights are cached.

    timm itself would try five times, and print a line for each attempt.

    Raises:
        UserError: If the request fails.
    """
    import timm
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    known = timm.get_pretrained_cfg(model_name)
    if known is None or not known.hf_hub_id:
        return  # timm reports that there are none, or has them elsewhere
    place, names = known.hf_hub_id, ("model.safetensors", "pytorch_model.bin")
    if any(isinstance(try_to_load_from_cache(place, name), str) for name in names):
        return
    try:
        get_hf_file_metadata(hf_hub_url(place, names[0]))
    except EntryNotFoundError:
        return  # the file has another name, but the hub is reachable
    except Exception as error:  # any error of its HTTP library
        raise _not_downloaded(model_name, error) from None


def _not_downloaded(model_name: str, error: Exception) -> UserError:
    detail = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"train.model.weights: DEFAULT of {model_name} could not be downloaded ({detail}); "
        "give the path of a local file, or null"
    )


def _state(weights: str, model_name: str, network: nn.Module, head: str, packaged: str) -> pretrained.State:
    if weights == packaged_weights.PACKAGE:
        state = pretrained.read_weights(str(packaged_weights.weights_file(packaged)))
        names = list(network.state_dict())
        if len(names) != len(state):
            raise UserError(f"train.model.weights: package: the installed weights are not those of {model_name}")
        # The package has the same layers in the same order, with other names; timm checks the shapes.
        return dict(zip(names, state.values(), strict=True))
    state = pretrained.read_weights(weights)
    # Of the buffers, only the batch norms' statistics are required: timm versions differ in whether they save others.
    statistics = (name for name, _ in network.named_buffers() if name.endswith(pretrained.STATISTICS))
    wanted = [name for name, _ in network.named_parameters() if not name.startswith(f"{head}.")]
    if missing := [name for name in (*wanted, *statistics) if name not in state]:
        raise pretrained.misfit(weights, model_name, missing[0])
    return state
