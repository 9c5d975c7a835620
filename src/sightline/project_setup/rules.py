"""The rules: a small pure function for each setting, from the fingerprint to a value and its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from sightline.project_setup.census import SERIES_PATTERN
from sightline.project_setup.choice import TINY, Choice, Doubt, Situation
from sightline.project_setup.machine import Machine
from sightline.project_setup.set_fingerprint import Fingerprint
from sightline.project_setup.transfer import NETWORK

FEW = 300
"""Images below which one test split says little: cross-validation says more."""
MANY = 20_000
"""Images from which training is long, and its steps are many, whatever is chosen."""
RARE = 100
"""Images of a class below which a split by hashes may be far from the requested fraction."""
CLEARLY = 0.05
"""Lead in accuracy that pretrained features need over HOG: with less, a network from scratch was better."""
CHIRAL = 0.6
"""Fraction of the nearest neighbour's accuracy below which mirroring counts as changing the class."""


Rule = Callable[[Situation], Choice]
RULES: dict[str, Rule] = {}
"""The rule of each setting, by key, in the order in which they are asked: a later one sees what earlier ones chose."""


def rule(key: str) -> Callable[[Rule], Rule]:
    """Registers a rule. Its docstring is its row in `docs/how-it-chooses.md`."""

    def register(function: Rule) -> Rule:
        RULES[key] = function
        return function

    return register


def choose_settings(
    images: Fingerprint, machine: Machine, given: Mapping[str, Choice] = MappingProxyType({})
) -> dict[str, Choice]:
    """Asks every rule, in order.

    Args:
        images: The fingerprint of the images.
        machine: The machine that they are trained on.
        given: Settings that are not to be chosen, by key; the rules of later ones go by them.

    Returns:
        The choices by key, those of the source first.
    """
    situation = Situation(images, machine)
    chosen = {key: choice for key, choice in given.items() if key.startswith("ingest.")}
    for key, function in RULES.items():
        found = function(situation)
        chosen[key] = _beside(found, given[key], key) if key in given else found
        # What is of another kind is refused with the whole configuration, and not by a rule that counts with it.
        situation.chosen[key] = chosen[key] if _is_alike(chosen[key].value, found.value) else found
    return {**chosen, **{key: choice for key, choice in given.items() if key not in RULES}}


def _beside(found: Choice, given: Choice, key: str) -> Choice:
    """Returns what is given in place of what a rule found; an option's own settings stand beside those found."""
    if key.endswith("_options") and isinstance(given.value, dict):
        return Choice({**found.value, **given.value}, given.reason)
    return given


def _is_alike(value: Any, other: Any) -> bool:
    """Says whether a value can stand in another's place in the rules that follow."""
    if isinstance(other, int | float):
        return isinstance(value, int | float) and value > 0
    return isinstance(value, type(other))


@rule("preprocess.channels")
def channels(s: Situation) -> Choice:
    """1 if at most one image in twenty has colour, whatever the files' mode; else 3."""
    return Choice(1, "the images have no colour") if s.images.grey else Choice(3, "the images have colour")


@rule("train.model")
def model(s: Situation) -> Choice:
    """`efficientnet_lite0`, pretrained, if a quick probe of its features beats HOG by more than 0.05; else `cnn`.

    The probe runs on colour photographs of at least 48 px, if the weights are installed (the extra `pretrained`).
    """
    trial = s.images.trial
    if trial is None:
        return Choice("cnn", "a small network, from scratch: no photographs, or no pretrained weights installed")
    found = f"on a sample, a probe of pretrained features reaches {trial.probe:.2f} accuracy, HOG {trial.hog:.2f}"
    if trial.probe > trial.hog + CLEARLY:
        other = Doubt("cnn", "a network from scratch may learn more from these images", slower=True)
        return Choice(NETWORK, found, other)
    other = Doubt(NETWORK, "pretrained features may gain more from a full training", slower=True)
    return Choice("cnn", f"from scratch: {found}, which is not clearly ahead ({CLEARLY})", other)


@rule("ingest.group_from")
def group_from(s: Situation) -> Choice:
    """The file name's prefix, if several images of a class share it and there are several such groups."""
    if s.images.prefixes and not s.images.groups:
        reason = f"{s.images.prefixes} groups of files with a common name prefix: each stays in one split"
        return Choice({"pattern": SERIES_PATTERN}, reason)
    return Choice({}, "file names show no groups")


@rule("preprocess.size")
def size(s: Situation) -> Choice:
    """The images' own size, at least 16 px, up to 32 px; larger ones 64 px, or 64 to 128 px for pretrained weights."""
    side = s.images.side
    if s.pretrained:
        value = max(64, min(128, side))
        return Choice(value, f"large enough for the pretrained weights; the median shorter side is {side} px")
    if side < TINY // 2:
        reason = f"tiny images ({side} px), enlarged for the network's layers"
        return Choice(16, reason, Doubt(24, "the layers may need even larger ones", slower=True))
    if side <= TINY:
        return Choice(side, f"the images' own shorter side ({side} px)")
    reason = f"the median shorter side is {side} px; training time grows with the square"
    larger = Doubt(96, "details may be lost at 64 px", slower=True) if side >= 96 else None
    return Choice(min(64, side), reason, larger)


@rule("preprocess.resize")
def resize(s: Situation) -> Choice:
    """`pad` if the images' aspect ratios differ or are far from square; else `stretch`."""
    aspect, other = s.images.aspect, s.images.shapes
    if other > 0.2:
        return Choice("pad", f"{other:.0%} of the images have another shape: stretching would distort them unevenly")
    if not 0.67 <= aspect <= 1.5:
        return Choice("pad", f"width / height is {aspect:.2f}: stretching to a square would distort them")
    return Choice("stretch", f"nearly all have the same shape (width / height {aspect:.2f})")


@rule("preprocess.background")
def background(s: Situation) -> Choice:
    """The median grey level along the images' edges, so that padding is inconspicuous."""
    return Choice(s.images.background, "the median grey level along the images' edges")


@rule("preprocess.sample_bits")
def sample_bits(s: Situation) -> Choice:
    """The bits that 16-bit files actually use, if fewer than 16; else 16."""
    if s.images.bits:
        return Choice(s.images.bits, f"the 16-bit files use {s.images.bits} bits; read as 16 they would be dark")
    return Choice(16, "no 16-bit files that use fewer")


@rule("preprocess.clean")
def clean(s: Situation) -> Choice:  # noqa: ARG001 - as all rules
    """`none`: nothing that is measured calls for it."""
    return Choice("none", "no reason for it")


@rule("preprocess.denoise")
def denoise(s: Situation) -> Choice:
    """`auto` if the median image has noise of 10 grey levels or more; else `none`."""
    noise = s.images.noise
    if noise is not None and noise >= 10:
        return Choice("auto", f"the images are noisy ({noise:.1f} grey levels)", Doubt("none", "it may be texture"))
    return Choice("none", "too small to tell" if noise is None else f"little noise ({noise:.1f} grey levels)")


@rule("preprocess.enhance")
def enhance(s: Situation) -> Choice:
    """`autocontrast` if more than half of the images are dark; else `none`."""
    dark = s.images.dark
    if dark > 0.5:
        found = f"{dark:.0%} of the images are dark"
        return Choice("autocontrast", found, Doubt("none", "brightness may distinguish classes"))
    return Choice("none", f"{dark:.0%} of the images are dark")


@rule("preprocess.segment")
def segment(s: Situation) -> Choice:  # noqa: ARG001 - as all rules
    """`none`: nothing can be learned from what is cut away; `sightline preview` shows whether it would be harmless."""
    return Choice("none", "nothing can be learned from what is cut away")


@rule("preprocess.augment")
def copies(s: Situation) -> Choice:  # noqa: ARG001 - as all rules
    """`none`: training augments the images itself, differently in every epoch."""
    return Choice("none", "training augments the images itself")


@rule("preprocess.val_fraction")
def val_fraction(s: Situation) -> Choice:
    """0.05 from 20,000 images, else 0.15; no effect if the source has its own validation split."""
    if "val" in s.images.splits:
        return Choice(0.15, "no effect: the source has its own")
    if s.images.images >= MANY:
        return Choice(0.05, f"of {s.images.images:,} images that is enough")
    return Choice(0.15, f"of {s.images.images:,} images")


@rule("preprocess.test_fraction")
def test_fraction(s: Situation) -> Choice:
    """0.1 from 20,000 images, else 0.2; no effect if the source has its own test split."""
    if "test" in s.images.splits:
        return Choice(0.2, "no effect: the source has its own")
    if s.images.images >= MANY:
        return Choice(0.1, f"of {s.images.images:,} images that is enough")
    if s.images.images < FEW:
        return Choice(0.2, f"only {s.images.images} images: cross-validation tells more (README.md)")
    return Choice(0.2, f"of {s.images.images:,} images")


@rule("preprocess.balance")
def balance(s: Situation) -> Choice:
    """`images`, distributing every image evenly, if the rarest class has fewer than 100; else `groups`."""
    if s.images.rarest < RARE:
        return Choice("images", f"the rarest class has {s.images.rarest} images: hashes would split it unevenly")
    return Choice("groups", "classes are large enough to be split by hash, which moves no image when others are added")


@rule("train.augment")
def augment(s: Situation) -> Choice:
    """`standard`, with flips, if mirroring keeps the class; `digits`, without flips, otherwise.

    Mirroring keeps the class if a nearest-neighbour classifier keeps at least 60 % of its accuracy on mirrored images
    (not measured on few images: then it does). Classes named like letters or directions are never flipped, and
    classes that are plain numbers only if it was measured.
    """
    kept = s.images.mirrored
    seen = "" if kept is None else f"; on mirrored images, the nearest neighbour keeps {kept:.0%} of its accuracy"
    numbers = all(name.isdigit() for name in s.images.classes)
    if s.images.text_like and not (numbers and kept is not None and kept >= CHIRAL):
        return Choice("digits", f"no flips: classes named like digits, letters or directions{seen}")
    if kept is not None and kept < CHIRAL:
        near = Doubt("standard", "the accuracy kept is close to the threshold") if kept >= CHIRAL - 0.1 else None
        return Choice("digits", f"no flips{seen}", near)
    doubt = None if s.pretrained else Doubt("light", "a small network may learn more from images that vary less")
    return Choice("standard", f"with flips{seen or ': no reason against them'}", doubt)


@rule("train.augment_options")
def augment_options(s: Situation) -> Choice:
    """Only shifts in addition for grey images of at most 32 px with flips, which was best on Fashion-MNIST."""
    if s.value("train.augment") == "standard" and s.images.side <= TINY and s.images.grey:
        still = dict.fromkeys(("crop", "scale", "brightness", "contrast", "saturation"), 0.0)
        return Choice({"translate": 0.07, "rotate": 0, **still}, "tiny grey images: only flips and shifts")
    return Choice({}, "the defaults in conf/train/augment/")


@rule("train.model_options")
def model_options(s: Situation) -> Choice:
    """For `cnn`: width 16 for fewer than 20,000 images above 32 px, else 32; no dropout from 20,000 images."""
    if s.pretrained:
        return Choice({"weights": "package"}, "the installed ImageNet weights: no network connection is needed")
    if s.value("train.model") != "cnn":
        return Choice({}, "the defaults in conf/train/model/")
    if s.images.images >= MANY:
        return Choice({"width": 32, "dropout": 0.0}, f"{s.images.images:,} images are hard to memorise")
    if s.value("preprocess.size") > TINY:
        return Choice({"width": 16}, f"too few images ({s.images.images:,}) for a wider network")
    return Choice({"width": 32}, f"tiny images ({s.value('preprocess.size')} px)")


@rule("train.recipe")
def recipe(s: Situation) -> Choice:
    """For pretrained weights, `probe` below 500 training images and `finetune` above; otherwise `scratch`."""
    if not s.pretrained:
        return Choice("scratch", "no pretrained network was chosen")
    number = s.training
    if number < 500:
        reason = f"{number} training images are few to train a whole network on"
        return Choice("probe", reason, Doubt("finetune", "its layers may need to adapt to these images", slower=True))
    reason = f"{number:,} training images: the probe's solution first, then all layers"
    return Choice("finetune", reason, Doubt("probe", "the pretrained features may be enough, in seconds"))


@rule("train.batch_size")
def batch_size(s: Situation) -> Choice:
    """16 below 500 training images, 32 below 5,000, else 128."""
    number = s.training
    value = 16 if number < 500 else 32 if number < 5000 else 128
    return Choice(value, f"steps per epoch: about {-(-number // value):,}")


@rule("train.schedule")
def schedule(s: Situation) -> Choice:
    """`cosine` for pretrained weights and for fewer than 5,000 training images below 16 px; else `one_cycle`."""
    if s.pretrained:
        return Choice("cosine", "pretrained weights need no long warm-up")
    if s.few_tiny:
        return Choice("cosine", f"it was best for {s.value('preprocess.size')} px digits")
    return Choice("one_cycle", "the fastest way to a good model in few epochs")


@rule("train.lr")
def lr(s: Situation) -> Choice:
    """0.002 with `cosine`, 0.005 with `one_cycle`, whose peak is short."""
    value = 0.002 if s.value("train.schedule") == "cosine" else 0.005
    return Choice(value, f"the peak for {s.value('train.model')} with adamw and this schedule")


@rule("train.max_epochs")
def max_epochs(s: Situation) -> Choice:
    """50 for 1,350 training images, more for fewer by the inverse square root, within 18 to 150.

    Where `cosine` was chosen for tiny images, 20 for 1,160. For pretrained weights, 15 for 1,350, within 8 to 40.
    """
    number = s.training
    most = 20 * (1160 / number) ** 0.5 if s.few_tiny else 50 * (1350 / number) ** 0.5
    value = max(18, min(150, round(most)))
    if s.pretrained:
        value = max(8, min(40, round(15 * (1350 / number) ** 0.5)))
    steps = value * -(-number // s.value("train.batch_size"))
    return Choice(value, f"{steps:,} steps in total, with about {number:,} training images")


@rule("train.patience")
def patience(s: Situation) -> Choice:
    """The number of epochs, so training does not stop early: both schedules are best at their end."""
    return Choice(s.value("train.max_epochs"), "no early stopping: the schedule is best at its end")


@rule("train.weight_averaging")
def weight_averaging(s: Situation) -> Choice:
    """`ema` from 4,000 steps, because it averages about 1,000; else `none`. Fine-tuning has its own average."""
    steps = s.value("train.max_epochs") * -(-s.training // s.value("train.batch_size"))
    if steps >= 4000:
        return Choice("ema", f"{steps:,} steps, of which it averages about the last 1,000")
    return Choice("none", f"{steps:,} steps are too few to average over")


@rule("train.loss_options")
def loss_options(s: Situation) -> Choice:
    """Label smoothing of 0.05 from 20,000 images, else none."""
    if s.images.images >= MANY:
        return Choice({"label_smoothing": 0.05}, f"a long training on {s.images.images:,} images")
    return Choice({}, "the defaults in conf/train/loss/")


@rule("train.class_weights")
def class_weights(s: Situation) -> Choice:
    """`effective` if the most frequent class has at least three times as many images as the rarest; else `none`."""
    ratio = s.images.imbalance
    if ratio >= 3:
        return Choice("effective", f"the most frequent class has {ratio:.1f} times as many images as the rarest")
    return Choice("none", f"balanced classes: {ratio:.1f} to 1 at most")


@rule("train.threads")
def threads(s: Situation) -> Choice:
    """All CPU cores, at most 16; fixed here because the last bits of a result depend on it."""
    value = min(16, s.machine.cores)
    return Choice(value, f"of {s.machine.cores} CPU cores; the last bits of results depend on it")


@rule("baseline.methods")
def methods(s: Situation) -> Choice:
    """`majority` and `hog_svm`; also `pixels_logreg` for images of at most 32 px, `pretrained_logreg` for photographs.

    `pretrained_logreg`, a linear probe of a pretrained network, needs its installed weights, as for `train.model`.
    """
    if s.images.trial is not None:
        reason = "the methods that take seconds, and a probe of the installed pretrained network: these are photographs"
        return Choice(["majority", "hog_svm", "pretrained_logreg"], reason)
    if s.value("preprocess.size") <= TINY:
        return Choice(["majority", "pixels_logreg", "hog_svm"], "the methods that take seconds")
    return Choice(["majority", "hog_svm"], "the methods that take seconds")


@rule("baseline.reference")
def reference(s: Situation) -> Choice:  # noqa: ARG001 - as all rules
    """`hog_svm`."""
    return Choice("hog_svm", "the network's errors on corrupted images are measured relative to its errors")


def rules_table() -> str:
    """Returns the rules as the table of `docs/how-it-chooses.md`: each setting, and its rule's docstring."""
    rows = ["| setting | rule |", "| --- | --- |"]
    for key, function in RULES.items():
        rows.append(f"| `{key}` | {' '.join((function.__doc__ or '').split())} |")
    return "\n".join(rows)
