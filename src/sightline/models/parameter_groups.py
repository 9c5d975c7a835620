"""Separate treatment of head and backbone: different learning rates, and a frozen backbone."""

from __future__ import annotations

import re
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from sightline.models.classifier import Classifier


def parameter_groups(
    classifier: Classifier,
    lr: float,
    backbone_lr_mult: float = 1.0,
    weight_decay: float = 0.0,
    decay_all: bool = True,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Returns an optimiser's parameter groups; every parameter is in exactly one, including frozen ones.

    Frozen parameters have no gradient, so an optimiser skips them (including weight decay) until they are unfrozen.

    Args:
        classifier: The model.
        lr: Learning rate of the head.
        backbone_lr_mult: The backbone's learning rate as a fraction of the head's (discriminative learning rates,
            Howard and Ruder 2018); with 1, head and backbone share a group.
        weight_decay: The optimiser's weight decay.
        decay_all: False exempts norms, biases, position embeddings, class tokens and layer scales from weight decay:
            only weight matrices and convolution kernels decay (Goyal et al. 2017, section 5.3).
        layer_decay: The learning rate of a block as a fraction of the next block's, towards the head (layer-wise
            learning rate decay, Clark et al. 2020, ELECTRA); with 1, the blocks share a group.

    Returns:
        Dictionaries with `params`, `lr`, `weight_decay` and `name` ("head", "backbone", a block's name, or "all", with
        "_no_decay" appended for groups without weight decay), in a fixed order.
    """
    head = {id(parameter) for parameter in classifier.head.parameters()}
    groups: dict[str, dict[str, Any]] = {}
    depths = block_depths([name for name, parameter in classifier.named_parameters() if id(parameter) not in head])
    for name, parameter in classifier.named_parameters():
        part, mult = "all", 1.0
        if id(parameter) not in head and layer_decay < 1:
            part, mult = block_of(name), backbone_lr_mult * layer_decay ** depths[block_of(name)]
        elif layer_decay < 1 or backbone_lr_mult != 1:
            part, mult = ("head", 1.0) if id(parameter) in head else ("backbone", backbone_lr_mult)
        # Linear and convolutional weights, including the joint input projection of attention (`in_proj_weight`).
        decayed = decay_all or (parameter.ndim >= 2 and name.endswith("weight"))
        label = part if decayed else f"{part}_no_decay"
        group = groups.setdefault(
            label,
            {
                "params": [],
                "lr": lr * mult,
                "weight_decay": weight_decay if decayed else 0.0,
                "name": label,
            },
        )
        group["params"].append(parameter)
    return [groups[label] for label in sorted(groups)]


def block_of(name: str) -> str:
    """Returns the block that a parameter belongs to: its name up to and including the first block numbers.

    >>> block_of("network.blocks.1.0.conv_pw.weight"), block_of("network.conv_stem.weight")
    ('network.blocks.1.0', 'network.conv_stem')
    """
    numbered = re.match(r"(?:[a-z_]+\.)*?[a-z_]*\d+(?:\.\d+)*(?=\.)", name, re.IGNORECASE)
    return numbered[0] if numbered else name.rpartition(".")[0]


def block_depths(names: list[str]) -> dict[str, int]:
    """Returns each block's distance from the head, 1 for the last block; `names` are in the order of the network."""
    blocks = list(dict.fromkeys(map(block_of, names)))
    return {block: len(blocks) - place for place, block in enumerate(blocks)}


def keep_statistics(classifier: Classifier) -> None:
    """Keeps the batch norms in evaluation mode, with fixed running statistics; their weights are still trained."""
    classifier.frozen_norms = _running_norms(classifier.network)
    classifier.train(classifier.training)


def freeze(classifier: Classifier, frozen: bool = True) -> None:
    """Freezes the backbone (everything except the head), or unfreezes it.

    A frozen backbone's parameters get no gradient, and its batch norms use their running statistics without updating
    them, even in training mode. Otherwise the "frozen" features would drift, and the statistics of a few small batches
    would replace those of the pretraining. Dropout and stochastic depth stay active, since they regularise the head.

    With DistributedDataParallel, unfreeze before the model is wrapped, or wrap it again: it only reduces gradients of
    the parameters that required one when it was created.
    """
    head = {id(parameter) for parameter in classifier.head.parameters()}
    for parameter in classifier.parameters():
        if id(parameter) not in head:
            parameter.requires_grad_(not frozen)
    classifier.frozen_norms = _running_norms(classifier.network) if frozen else []
    classifier.train(classifier.training)


def _running_norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, _NormBase)]
