"""Head and backbone apart: learning rates that differ, and a backbone that stays as it was pretrained."""

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
    """Returns an optimiser's parameter groups: every parameter in exactly one, frozen ones as well.

    Frozen ones have no gradient, so that an optimiser passes over them, decay included, and takes them up once they
    are thawed.

    Args:
        classifier: The model.
        lr: Learning rate of the head.
        backbone_lr_mult: The backbone's learning rate as a share of the head's (discriminative learning rates, Howard
            and Ruder 2018); 1 makes no difference between them, and fewer groups.
        weight_decay: The optimiser's weight decay.
        decay_all: False leaves norms, biases, position embeddings, class tokens and layer scales without decay: only
            what multiplies activations by a matrix is decayed (Goyal et al. 2017, section 5.3).
        layer_decay: The learning rate of a block as a share of the one above it, the head at the top (layer-wise decay,
            Clark et al. 2020, ELECTRA); 1 makes no difference between blocks, and fewer groups.

    Returns:
        Dictionaries with `params`, `lr`, `weight_decay` and `name` ("head", "backbone", a block's, or "all", with
        "_no_decay" appended where there is none), in a fixed order.
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
        # Linear and convolutional weights, and the joint one of attention's three inputs.
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
    """Returns the block that a parameter belongs to: its name up to the first numbers, which count blocks.

    >>> block_of("network.blocks.1.0.conv_pw.weight"), block_of("network.conv_stem.weight")
    ('network.blocks.1.0', 'network.conv_stem')
    """
    numbered = re.match(r"(?:[a-z_]+\.)*?[a-z_]*\d+(?:\.\d+)*(?=\.)", name, re.IGNORECASE)
    return numbered[0] if numbered else name.rpartition(".")[0]


def block_depths(names: list[str]) -> dict[str, int]:
    """Returns how far each block lies below the head: 1 for the last. A network's parameters come in their order."""
    blocks = list(dict.fromkeys(map(block_of, names)))
    return {block: len(blocks) - place for place, block in enumerate(blocks)}


def keep_statistics(classifier: Classifier) -> None:
    """Has the batch norms compute with the statistics that they have, in training mode as well; their weights learn."""
    classifier.frozen_norms = _running_norms(classifier.network)
    classifier.train(classifier.training)


def freeze(classifier: Classifier, frozen: bool = True) -> None:
    """Freezes the backbone (all but the head), or thaws it.

    A frozen backbone's parameters get no gradient, and its batch norms compute with the statistics that they have and
    do not update them, in training mode as well: otherwise "frozen" features would drift, and the statistics of a few
    small batches replace those of the pretraining. Dropout and stochastic depth stay on: they regularise the head.

    Under DistributedDataParallel, thaw before the model is wrapped, or wrap it again: it reduces the gradients of the
    parameters that wanted one when it was made.
    """
    head = {id(parameter) for parameter in classifier.head.parameters()}
    for parameter in classifier.parameters():
        if id(parameter) not in head:
            parameter.requires_grad_(not frozen)
    classifier.frozen_norms = _running_norms(classifier.network) if frozen else []
    classifier.train(classifier.training)


def _running_norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, _NormBase)]
