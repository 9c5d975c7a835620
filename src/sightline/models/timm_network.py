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
    """Creates timm's network of that name.

    Networks of a fixed size, such as vision transformers, get the images' size; stems are left as they are
    (`extra` reaches what timm's builder offers). Pretrained weights are fitted to size and channels by timm
    itself; the last layer always starts anew.

    Args:
        model_name: timm's name.
        extra: Further arguments of its builder.
        weights: See `PretrainableOption`.
        shape: (height, width, channels) of the images.
        num_classes: Number of logits.
        packaged: The network's name among those whose weights come as a package, where it is one of them.

    Raises:
        UserError: If timm is not installed, has no such network, or pretrained weights cannot be had or do not fit.
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
        # Once more, since timm loads weights while it builds, and fits them to size and channels by each family's rule.
        # It then no longer says which ones it did not find: so a file is compared with the network first.
        overlay: dict[str, Any] = {"num_classes": 0}  # of another number than ours: the last layer starts anew
        if weights == "DEFAULT":
            _require_hub(model_name)
        else:
            overlay["state_dict"] = _state(weights, model_name, network, name, packaged or model_name)
        try:
            network = timm.create_model(model_name, pretrained=True, pretrained_cfg_overlay=overlay, **arguments)
        except Exception as error:  # the hub's client raises what its HTTP library does
            detail = (str(error).splitlines() or [type(error).__name__])[0]
            if weights == "DEFAULT":
                raise _not_downloaded(model_name, error) from None
            raise UserError(f"train.model.weights: {weights} does not fit {model_name}: {detail}") from None
    return network


@torch.no_grad()
def _try(network: nn.Module, shape: tuple[int, ...]) -> None:
    """Passes a batch through: most networks that cannot take images of a size find out only then."""
    network.eval()(torch.zeros(shape))
    network.train()


def head(network: nn.Module, name: str) -> str:
    """Returns the name of the last layer of timm's network `name`.

    Raises:
        UserError: If that is not one linear layer.
    """
    classifier: Any = network.get_classifier()  # type: ignore[operator]  # a method of every network of timm
    if not isinstance(classifier, nn.Linear):
        raise UserError(f"train.model.model_name: {name} is not supported: its head is not a single linear layer")
    path: str = next(path for path, module in network.named_modules() if module is classifier)
    return path


def _require_hub(model_name: str) -> None:
    """Asks the hub once for what is not in its cache: timm asks five times, with a line of its own for each.

    Raises:
        UserError: If it does not answer, or has no such weights.
    """
    import timm
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    known = timm.get_pretrained_cfg(model_name)
    if known is None or not known.hf_hub_id:
        return  # timm says itself that there are none, or has them elsewhere
    place, names = known.hf_hub_id, ("model.safetensors", "pytorch_model.bin")
    if any(isinstance(try_to_load_from_cache(place, name), str) for name in names):
        return
    try:
        get_hf_file_metadata(hf_hub_url(place, names[0]))
    except EntryNotFoundError:
        return  # under another name: the hub answers
    except Exception as error:  # what its HTTP library raises
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
        # The same layers in the same order, under other names; timm compares the shapes.
        return dict(zip(names, state.values(), strict=True))
    state = pretrained.read_weights(weights)
    # Of the buffers, only the batch norms' statistics: some versions of timm keep others in their files, some do not.
    statistics = (name for name, _ in network.named_buffers() if name.endswith(pretrained.STATISTICS))
    wanted = [name for name, _ in network.named_parameters() if not name.startswith(f"{head}.")]
    if missing := [name for name in (*wanted, *statistics) if name not in state]:
        raise pretrained.misfit(weights, model_name, missing[0])
    return state
