"""The rules: a small pure function for each setting, from the fingerprint to a value and its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sightline.project_setup.census import SERIES_PATTERN
from sightline.project_setup.machine import Machine
from sightline.project_setup.set_fingerprint import Fingerprint
from sightline.project_setup.transfer import NETWORK

FEW = 300
"""Images below which one test split says little: cross-validation says more."""
MANY = 20_000
"""Images from which training is long, and its steps are many, whatever is chosen."""
RARE = 100
"""Images of a class below which a split by hashes alone may be far from the share that it is to have of it."""
TINY = 32
"""Shorter side, in pixels, of pictures that are taken as they are."""
CLEARLY = 0.05
"""Accuracy by which pretrained features must be ahead of gradients: by less, a network from scratch was better."""
CHIRAL = 0.6
"""Share of the nearest neighbour's accuracy below which mirror images are other pictures."""


@dataclass(frozen=True)
class Doubt:
    """A doubt: another option that might be better than a choice, which a search can find out.

    Attributes:
        other: The other value.
        reason: The reason why it might be better.
        slower: Whether training takes longer with it, so that it is no alternative within a budget.
    """

    other: Any
    reason: str
    slower: bool = False


@dataclass(frozen=True)
class Choice:
    """A value of a setting, and why; where it is doubtful, the other value."""

    value: Any
    reason: str
    doubt: Doubt | None = None


@dataclass(frozen=True)
class Situation:
    """All that a rule sees.

    Attributes:
        images: The fingerprint of the images.
        machine: The machine that they are trained on.
        chosen: The choices of the rules before, by key.
    """

    images: Fingerprint
    machine: Machine
    chosen: dict[str, Choice] = field(default_factory=dict)

    def value(self, key: str) -> Any:
        """Returns what an earlier rule has chosen."""
        return self.chosen[key].value

    @property
    def training(self) -> int:
        """Images that training will have, about."""
        return max(1, self._undivided - self._drawn("val") - self._drawn("test"))

    @property
    def validating(self) -> int:
        """Images that validation will have, about."""
        return self.images.splits.get("val", 0) or self._drawn("val")

    @property
    def _undivided(self) -> int:
        """Images that the source leaves to be trained on, or to be drawn from."""
        return self.images.images - self.images.splits.get("val", 0) - self.images.splits.get("test", 0)

    def _drawn(self, split: str) -> int:
        """Images that are drawn for a split that the source does not give."""
        share = 0.0 if split in self.images.splits else float(self.value(f"preprocess.{split}_fraction"))
        return round(self._undivided * share)

    @property
    def pretrained(self) -> bool:
        """Whether pretrained weights were chosen."""
        return bool(self.value("train.model") == NETWORK)

    @property
    def few_tiny(self) -> bool:
        """Whether there are few images, and ones so tiny that they are enlarged: a short training is enough."""
        return self.images.side < TINY // 2 and self.training < 5000


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
    """1 where at most one picture in twenty shows a colour, whatever the files' mode; else 3."""
    return Choice(1, "the pictures show no colour") if s.images.grey else Choice(3, "the pictures show colours")


@rule("train.model")
def model(s: Situation) -> Choice:
    """`efficientnet_lite0`, pretrained, where a quick probe of its features clearly beats gradients (HOG); else `cnn`.

    Clearly is by 0.05. Tried on photographs of 48 px and more in colour, if the weights are installed (`pretrained`).
    """
    trial = s.images.trial
    if trial is None:
        return Choice("cnn", "a small network, from scratch: no photographs, or no pretrained weights installed")
    found = f"a probe of pretrained features is right on {trial.probe:.2f}, gradients on {trial.hog:.2f}"
    if trial.probe > trial.hog + CLEARLY:
        other = Doubt("cnn", "a network from scratch may learn more from these pictures", slower=True)
        return Choice(NETWORK, f"{found} of a sample", other)
    other = Doubt(NETWORK, "pretrained features may be worth more in a whole training", slower=True)
    return Choice("cnn", f"from scratch: {found} of a sample, which is not clearly ahead ({CLEARLY})", other)


@rule("ingest.group_from")
def group_from(s: Situation) -> Choice:
    """The beginning of the file's name, where several images of a class share it and there are several such groups."""
    if s.images.prefixes and not s.images.groups:
        reason = f"{s.images.prefixes} groups of files whose names begin alike: each stays in one split"
        return Choice({"pattern": SERIES_PATTERN}, reason)
    return Choice({}, "file names tell of no groups")


@rule("preprocess.size")
def size(s: Situation) -> Choice:
    """The pictures' own size up to 32 px (below 16 px twice that), else 64 px; for pretrained weights 64 to 128 px."""
    side = s.images.side
    if s.pretrained:
        value = max(64, min(128, side))
        return Choice(value, f"large enough for the pretrained weights; of shorter sides of {side} px (median)")
    if side < TINY // 2:
        reason = f"tiny pictures ({side} px), enlarged for the network's layers"
        return Choice(16, reason, Doubt(24, "the layers may want still larger ones", slower=True))
    if side <= TINY:
        return Choice(side, f"the pictures' own shorter side ({side} px)")
    reason = f"of shorter sides of {side} px (median); larger costs time by the square"
    larger = Doubt(96, "details may be lost at 64 px", slower=True) if side >= 96 else None
    return Choice(min(64, side), reason, larger)


@rule("preprocess.resize")
def resize(s: Situation) -> Choice:
    """`pad` where pictures differ in shape, or are much longer than wide or high; else `stretch`."""
    aspect, other = s.images.aspect, s.images.shapes
    if other > 0.2:
        return Choice("pad", f"{other:.0%} of the pictures have another shape: stretching would distort them unevenly")
    if not 0.67 <= aspect <= 1.5:
        return Choice("pad", f"width / height is {aspect:.2f}: a square would distort it")
    return Choice("stretch", f"nearly all have one shape (width / height {aspect:.2f})")


@rule("preprocess.background")
def background(s: Situation) -> Choice:
    """The median grey level along the pictures' edges: what is padded is hardly seen."""
    return Choice(s.images.background, "the median grey level along the pictures' edges")


@rule("preprocess.sample_bits")
def sample_bits(s: Situation) -> Choice:
    """The bits that 16-bit files use, where they use few; else 16."""
    if s.images.bits:
        return Choice(s.images.bits, f"the 16-bit files use {s.images.bits} bits; at 16 they would be dark")
    return Choice(16, "no 16-bit files that use fewer")


@rule("preprocess.clean")
def clean(s: Situation) -> Choice:  # noqa: ARG001 - as all rules
    """None: nothing in a fingerprint asks for it."""
    return Choice("none", "nothing asks for it")


@rule("preprocess.denoise")
def denoise(s: Situation) -> Choice:
    """`auto` where the median picture has noise of 10 grey levels or more; else none."""
    noise = s.images.noise
    if noise is not None and noise >= 10:
        return Choice("auto", f"the pictures are noisy ({noise:.1f} grey levels)", Doubt("none", "it may be texture"))
    return Choice("none", "too small to tell" if noise is None else f"little noise ({noise:.1f} grey levels)")


@rule("preprocess.enhance")
def enhance(s: Situation) -> Choice:
    """`autocontrast` where more than half of the pictures are dark; else none."""
    dark = s.images.dark
    if dark > 0.5:
        found = f"{dark:.0%} of the pictures are dark"
        return Choice("autocontrast", found, Doubt("none", "darkness may tell classes apart"))
    return Choice("none", f"{dark:.0%} of the pictures are dark")


@rule("preprocess.segment")
def segment(s: Situation) -> Choice:  # noqa: ARG001 - as all rules
    """None: what is cut away cannot be learned from, and `sightline preview` shows whether it would be harmless."""
    return Choice("none", "what is cut away cannot be learned from")


@rule("preprocess.augment")
def copies(s: Situation) -> Choice:  # noqa: ARG001 - as all rules
    """None: training varies the pictures itself, anew in every epoch."""
    return Choice("none", "training varies the pictures itself")


@rule("preprocess.val_fraction")
def val_fraction(s: Situation) -> Choice:
    """0.05 from 20,000 images on, else 0.15; without effect where the source has a split for validation."""
    if "val" in s.images.splits:
        return Choice(0.15, "without effect: the source has its own")
    if s.images.images >= MANY:
        return Choice(0.05, f"of {s.images.images:,} images that is enough")
    return Choice(0.15, f"of {s.images.images:,} images")


@rule("preprocess.test_fraction")
def test_fraction(s: Situation) -> Choice:
    """0.1 from 20,000 images on, else 0.2; without effect where the source has a split for the test."""
    if "test" in s.images.splits:
        return Choice(0.2, "without effect: the source has its own")
    if s.images.images >= MANY:
        return Choice(0.1, f"of {s.images.images:,} images that is enough")
    if s.images.images < FEW:
        return Choice(0.2, f"{s.images.images} images: few; cross-validation says more (README.md)")
    return Choice(0.2, f"of {s.images.images:,} images")


@rule("preprocess.balance")
def balance(s: Situation) -> Choice:
    """`images`, all divided evenly, where the rarest class has fewer than 100; else `groups` of the source alone."""
    if s.images.rarest < RARE:
        return Choice("images", f"the rarest class has {s.images.rarest}: chance alone would divide it unevenly")
    return Choice("groups", "classes are large enough to be divided by chance, which moves no image when others come")


@rule("train.augment")
def augment(s: Situation) -> Choice:
    """`standard`, with flips, where mirror images are as good; `digits`, without, for digits, letters and directions.

    Classes that are mere numbers are taken for digits unless the nearest neighbour keeps 60 % of its accuracy on
    mirrored pictures; other classes are flipped unless it keeps less.
    """
    kept = s.images.mirrored
    seen = "" if kept is None else f"; mirrored, the nearest neighbour keeps {kept:.0%} of its accuracy"
    numbers = all(name.isdigit() for name in s.images.classes)
    if s.images.text_like and not (numbers and kept is not None and kept >= CHIRAL):
        return Choice("digits", f"no flips: classes named like digits, letters or directions{seen}")
    if kept is not None and kept < CHIRAL:
        near = Doubt("standard", "the accuracy kept is near the bound for flips") if kept >= CHIRAL - 0.1 else None
        return Choice("digits", f"no flips{seen}", near)
    doubt = None if s.pretrained else Doubt("light", "a small network may learn more from pictures that vary less")
    return Choice("standard", f"with flips{seen or ': nothing speaks against them'}", doubt)


@rule("train.augment_options")
def augment_options(s: Situation) -> Choice:
    """Shifts and nothing else for grey pictures of at most 32 px that are flipped, best on Fashion-MNIST."""
    if s.value("train.augment") == "standard" and s.images.side <= TINY and s.images.grey:
        still = dict.fromkeys(("crop", "scale", "brightness", "contrast", "saturation"), 0.0)
        return Choice({"translate": 0.07, "rotate": 0, **still}, "tiny grey pictures: flips and shifts alone")
    return Choice({}, "as conf/train/augment/ has them")


@rule("train.model_options")
def model_options(s: Situation) -> Choice:
    """Of `cnn`: width 16 below 20,000 images of more than 32 px, else 32; no dropout from 20,000 images on."""
    if s.pretrained:
        return Choice({"weights": "package"}, "the installed ImageNet weights: no network connection is needed")
    if s.value("train.model") != "cnn":
        return Choice({}, "as conf/train/model/ has them")
    if s.images.images >= MANY:
        return Choice({"width": 32, "dropout": 0.0}, f"{s.images.images:,} images are hard to learn by heart")
    if s.value("preprocess.size") > TINY:
        return Choice({"width": 16}, f"few images ({s.images.images:,}) for a wider network")
    return Choice({"width": 32}, f"tiny pictures ({s.value('preprocess.size')} px)")


@rule("train.recipe")
def recipe(s: Situation) -> Choice:
    """`probe` for pretrained weights and fewer than 500 training images, `finetune` from there; else `scratch`."""
    if not s.pretrained:
        return Choice("scratch", "no pretrained network was chosen")
    number = s.training
    if number < 500:
        reason = f"{number} training images are few to train a whole network on"
        return Choice("probe", reason, Doubt("finetune", "its layers may have to learn these pictures", slower=True))
    reason = f"{number:,} training images: the probe's solution first, then all layers"
    return Choice("finetune", reason, Doubt("probe", "the pretrained features may be enough, in seconds"))


@rule("train.batch_size")
def batch_size(s: Situation) -> Choice:
    """16 below 500 training images, 32 below 5,000, else 128: some 40 steps an epoch at least."""
    number = s.training
    value = 16 if number < 500 else 32 if number < 5000 else 128
    return Choice(value, f"about {-(-number // value):,} steps an epoch")


@rule("train.schedule")
def schedule(s: Situation) -> Choice:
    """`cosine` for pretrained weights and for fewer than 5,000 pictures below 16 px, as digits; else `one_cycle`."""
    if s.pretrained:
        return Choice("cosine", "the rate falls from the start: the pretrained weights need no long warm-up")
    if s.few_tiny:
        return Choice("cosine", f"as was best for {s.value('preprocess.size')} px digits")
    return Choice("one_cycle", "the quickest road to a good model in few epochs")


@rule("train.lr")
def lr(s: Situation) -> Choice:
    """0.002 with `cosine`, 0.005 with `one_cycle`, whose peak is short."""
    value = 0.002 if s.value("train.schedule") == "cosine" else 0.005
    return Choice(value, f"the peak for {s.value('train.model')} with adamw, by this schedule")


@rule("train.max_epochs")
def max_epochs(s: Situation) -> Choice:
    """50 at 1,350 training images (with `cosine` 20 at 1,160), by the square root more of fewer: 18 to 150.

    For pretrained weights 15 at 1,350: 8 to 40.
    """
    number = s.training
    most = 20 * (1160 / number) ** 0.5 if s.few_tiny else 50 * (1350 / number) ** 0.5
    value = max(18, min(150, round(most)))
    if s.pretrained:
        value = max(8, min(40, round(15 * (1350 / number) ** 0.5)))
    steps = value * -(-number // s.value("train.batch_size"))
    return Choice(value, f"{steps:,} steps in all, of about {number:,} training images")


@rule("train.patience")
def patience(s: Situation) -> Choice:
    """As many as there are epochs: both schedules are best at their end."""
    return Choice(s.value("train.max_epochs"), "the schedule is best at its end: it is not stopped early")


@rule("train.weight_averaging")
def weight_averaging(s: Situation) -> Choice:
    """`ema` from 4,000 steps on, else none: it averages about 1,000 steps; fine-tuning has an average of its own."""
    steps = s.value("train.max_epochs") * -(-s.training // s.value("train.batch_size"))
    if steps >= 4000:
        return Choice("ema", f"{steps:,} steps, of which it averages the last 1,000 or so")
    return Choice("none", f"{steps:,} steps are few to average over")


@rule("train.loss_options")
def loss_options(s: Situation) -> Choice:
    """Label smoothing of 0.05 from 20,000 images on, else none."""
    if s.images.images >= MANY:
        return Choice({"label_smoothing": 0.05}, f"a long training on {s.images.images:,} images")
    return Choice({}, "as conf/train/loss/ has them")


@rule("train.class_weights")
def class_weights(s: Situation) -> Choice:
    """`effective` where the most frequent class has at least three times the images of the rarest; else none."""
    ratio = s.images.imbalance
    if ratio >= 3:
        return Choice("effective", f"the most frequent class has {ratio:.1f} times the images of the rarest")
    return Choice("none", f"even classes: {ratio:.1f} to 1 at most")


@rule("train.threads")
def threads(s: Situation) -> Choice:
    """All CPU cores up to 16: the last bits of a result depend on their number, so it is fixed."""
    value = min(16, s.machine.cores)
    return Choice(value, f"of {s.machine.cores} CPU cores; the last bits depend on it")


@rule("baseline.methods")
def methods(s: Situation) -> Choice:
    """`majority` and `hog_svm`; for pictures of at most 32 px `pixels_logreg`, for photographs `pretrained_logreg`.

    The latter, a linear probe of a pretrained network, where its weights are installed, as for `train.model`.
    """
    if s.images.trial is not None:
        reason = "what takes seconds, and a probe of the installed pretrained network: these are photographs"
        return Choice(["majority", "hog_svm", "pretrained_logreg"], reason)
    if s.value("preprocess.size") <= TINY:
        return Choice(["majority", "pixels_logreg", "hog_svm"], "what takes seconds")
    return Choice(["majority", "hog_svm"], "what takes seconds")


@rule("baseline.reference")
def reference(s: Situation) -> Choice:  # noqa: ARG001 - as all rules
    """`hog_svm`."""
    return Choice("hog_svm", "whose errors on corrupted pictures the network's are measured by")


def rules_table() -> str:
    """Returns the rules as the table of `docs/how-it-chooses.md`: each setting, and its rule's docstring."""
    rows = ["| setting | rule |", "| --- | --- |"]
    for key, function in RULES.items():
        rows.append(f"| `{key}` | {' '.join((function.__doc__ or '').split())} |")
    return "\n".join(rows)
