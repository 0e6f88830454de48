"""Recipes: how a network is trained, as small frozen settings that are saved with the run.

`regard train --recipe RUN/recipe.json` does that run again. Each preset below is one function whose docstring begins
with its command; every setting of it can be given on the command line, and `Settings` explains each.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regard.data.images.augment import Augmentation

from regard.errors import DataError, UsageError, unknown
from regard.files import SCHEMA, check_schema

CHOICES = MappingProxyType(
    {
        "optimiser": ("adamw", "sgd"),
        "schedule": ("cosine", "exponential", "constant"),
        "head": ("probe", "new"),
        "average": ("none", "ema", "swa"),
        "keep": ("last", "best"),
        "fit": ("own", "crop", "squash"),
        "values": ("own", "half"),
        "class_weights": ("none", "balanced"),
        "precision": ("auto", "float32", "bfloat16"),
        "search": ("few", "always", "never"),
        "vocabulary": ("own", "bert"),
    }
)
"""The settings that take a word, and the words they take."""


def _setting(default: Any, text: str, low: float | None = None, high: float | None = None) -> Any:
    """A field with its explanation and its range, both ends of which are allowed."""
    return field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True)
class Settings:
    """How a network is trained. Raises `UsageError` for a value that is out of range, saying what is allowed."""

    epochs: int = _setting(5, "How often every training picture is seen.", 1)
    batch_size: int = _setting(32, "Pictures at a time, over all processes together.", 1)
    accumulate: int = _setting(1, "Batches whose gradients are added up before each step.", 1)
    optimiser: str = _setting("adamw", "adamw or sgd.")
    learning_rate: float = _setting(3e-4, "Of the last layer; earlier ones have less, see --layer-decay.", 0)
    momentum: float = _setting(0.0, "Momentum of sgd; adamw has its own.", 0, 0.9999)
    weight_decay: float = _setting(0.05, "Pull of weights towards zero; none for biases, norms and positions.", 0)
    layer_decay: float = _setting(
        0.75, "Learning rate of each block as a share of the next one's; 1 for all the same.", 0, 1
    )
    schedule: str = _setting("cosine", "How the learning rate falls: cosine, exponential (each epoch) or constant.")
    decay: float = _setting(0.9, "Factor on the learning rate after each epoch, for the exponential schedule.", 0, 1)
    warm_up: float = _setting(0.1, "Share of all steps in which the learning rate rises from zero.", 0, 1)
    clip: float = _setting(1.0, "Largest norm of the gradient; 0 for no limit.", 0)
    smoothing: float = _setting(0.1, "Label smoothing: share of the target given to all classes alike.", 0, 0.99)
    class_weights: str = _setting("none", "none, or balanced: rare classes count more.")
    dropout: float = _setting(0.0, "On attention weights, after the attention's projection and after the MLP.", 0, 0.99)
    drop_path: float = _setting(
        0.0, "Stochastic depth: how often the last block is left out (earlier ones less).", 0, 0.99
    )
    head: str = _setting("probe", "The last layer starts from a probe fitted on frozen features, or is new.")
    open_layers: int | None = _setting(None, "Train only the last so many blocks and the head; by default all.", 0)
    average: str = _setting("ema", "Weights that are used: none (the last), ema or swa (averaged over steps).")
    ema_decay: float = _setting(0.998, "How slowly the ema follows.", 0, 0.999999)
    swa_share: float = _setting(0.25, "Share of the last steps over which swa averages.", 0, 1)
    keep: str = _setting("last", "Which epoch's weights are used: last, or best on the pictures set aside.")
    patience: int = _setting(0, "Stop after so many epochs that are no better on the pictures set aside; 0: never.", 0)
    mix: float = _setting(
        1.0, "Share of the tuned weights in the result; the rest is the starting point (WiSE-FT).", 0, 1
    )
    search: str = _setting("few", "When layers, rate and mix are chosen by cross-validation: few, always or never.")
    few: int = _setting(1000, "Training pictures up to which they count as few.", 0)
    folds: int = _setting(3, "Folds of that cross-validation, inside the training part.", 2)
    precision: str = _setting(
        "auto", "What the training computes in: float32, bfloat16, or auto (the faster, by machine)."
    )
    fit: str = _setting("own", "How pictures become the input: as the network's own, by crop, or by squash.")
    values: str = _setting(
        "own", "Values of pixels: own, as the network's preparation has them, or half: from -1 to 1."
    )
    crop: float = _setting(1.0, "Least share of the picture that a random crop keeps; 1 for no random crop.", 0.01, 1)
    flip: float = _setting(0.5, "How often a picture is mirrored.", 0, 1)
    rotate: float = _setting(0.0, "Largest random turn, in degrees.", 0, 180)
    translate: float = _setting(0.0, "Largest random shift, as a share of the side.", 0, 1)
    zoom: float = _setting(0.0, "Largest random zoom: 0.1 for 0.9 to 1.1.", 0, 0.99)
    brightness: float = _setting(0.0, "Largest random change of brightness, as a share.", 0, 1)
    contrast: float = _setting(0.0, "Largest random change of contrast, as a share.", 0, 1)
    saturation: float = _setting(0.0, "Largest random change of saturation, as a share.", 0, 1)
    hue: float = _setting(0.0, "Largest random change of hue, as a share of the colour circle.", 0, 0.5)

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(each, getattr(self, each.name))

    def changed(self, overrides: Mapping[str, Any]) -> "Settings":
        """These settings with others in their place; None leaves one as it is. Raises `UsageError`, nearest offered."""
        names = {each.name for each in fields(self)}
        for name, value in overrides.items():
            if value is not None and name not in names and name in explained():
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} is for captioners; give --task caption with it, or leave it out")
            if name not in names:
                raise unknown("setting", name, names, "`regard train --help` explains each.")
        return replace(self, **{name: value for name, value in overrides.items() if value is not None})

    def share(self, above: int) -> float:
        """The part of the learning rate that a layer has which lies so many layers below the last."""
        return float(self.layer_decay**above)

    @property
    def augmentation(self) -> "Augmentation":
        """The random changes to training pictures; imported late, as `--help` reads the settings without torch."""
        from regard.data.images.augment import Augmentation

        kept = {name: getattr(self, name) for name in ("crop", "flip", "rotate", "translate")}
        colours = {name: getattr(self, name) for name in ("brightness", "contrast", "saturation", "hue")}
        return Augmentation(**kept, scale=(1 - self.zoom, 1 + self.zoom), **colours)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


NOT_FOR_CAPTIONS = ("class_weights", "search", "few", "folds", "mix", "head")
"""Settings of classifiers alone."""


@dataclass(frozen=True)
class CaptionSettings(Settings):
    """How a captioner is trained: an encoder that sees, and a decoder that speaks. Raises `UsageError`."""

    encoder_layers: int | None = _setting(None, "Captioner: the encoder's first so many blocks; by default all.", 1)
    encoder_rate: float = _setting(0.3, "Captioner: learning rate of the encoder as a share of the decoder's.", 0, 1)
    decoder_layers: int = _setting(4, "Captioner: layers of the decoder.", 1, 48)
    decoder_width: int = _setting(192, "Captioner: width of the decoder, a multiple of 4 and of its heads.", 4, 4096)
    decoder_heads: int = _setting(6, "Captioner: attention heads in each layer of the decoder.", 1, 64)
    decoder_dropout: float = _setting(0.1, "Captioner: dropout in the decoder.", 0, 0.99)
    vocabulary: str = _setting("own", "Captioner: words of these captions (own), or bert's pieces (bert).")
    least: int = _setting(1, "Captioner: how often a word must be in the captions to be one of the vocabulary.", 1)
    longest: int = _setting(64, "Captioner: tokens of a caption at most, the end among them.", 2, 4096)

    def __post_init__(self) -> None:
        super().__post_init__()
        standard = Settings()
        for name in NOT_FOR_CAPTIONS:
            if getattr(self, name) != getattr(standard, name):
                raise UsageError(f"--{name.replace('_', '-')} is for classifiers, not for captions; leave it out")
        if self.decoder_width % self.decoder_heads or self.decoder_width % 4:
            raise UsageError(
                f"--decoder-width is {self.decoder_width}; it must be a multiple of 4 and of --decoder-heads, "
                f"{self.decoder_heads}"
            )

    def share(self, above: int) -> float:
        """The decoder has all of the learning rate, the encoder's last block `encoder_rate` of it."""
        return 1.0 if above == 0 else float(self.encoder_rate * self.layer_decay ** (above - 1))


_KINDS: Mapping[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: (int | float, "a number"),
    str: (str, "a word"),
    int | None: (int | None, "a whole number"),
}


def _check(setting: "Field[Any]", value: Any) -> None:
    """One value against its type, its words and its range."""
    option = f"--{setting.name.replace('_', '-')}"
    kind, called = _KINDS[setting.type]
    if isinstance(value, bool) or not isinstance(value, kind):
        raise UsageError(f"{option} is {value!r}, which is not {called}; {setting.metadata['help']}")
    if setting.name in CHOICES and value not in CHOICES[setting.name]:
        raise unknown(f"value for {option}", value, CHOICES[setting.name])
    low, high = setting.metadata["low"], setting.metadata["high"]
    if value is None or low is None:
        return
    if not low <= value <= (math.inf if high is None else high) or math.isinf(value):  # NaN is refused here too
        allowed = f"at least {low}" if high is None else f"from {low} to {high}"
        raise UsageError(f"{option} is {value}; it must be {allowed}. {setting.metadata['help']}")


def explained() -> dict[str, str]:
    """What each setting does, by name, in order: what `--help` shows."""
    return {each.name: each.metadata["help"] for each in fields(CaptionSettings)}


def dlcv() -> Settings:
    """regard train DATA --recipe dlcv --model B_16_imagenet1k.pth --size 384 --out runs/dlcv

    The source recipe, to the letter: a ViT-B/16 at 384 pixels with a new last layer, SGD without momentum or weight
    decay, the learning rate times 0.9 after each epoch, batches of 4, cross-entropy, 30 epochs, the best epoch kept (of
    equals the later), so that its validation accuracy is one "selected on" these pictures. "ColorJitter(0.15 each)" is
    read as each of the four that ColorJitter has, hue included; `--hue 0` leaves that out.
    """
    return Settings(
        epochs=30,
        batch_size=4,
        optimiser="sgd",
        learning_rate=5e-4,
        weight_decay=0.0,
        layer_decay=1.0,
        schedule="exponential",
        decay=0.9,
        warm_up=0.0,
        clip=0.0,
        smoothing=0.0,
        dropout=0.1,
        head="new",
        average="none",
        keep="best",
        search="never",
        precision="float32",
        fit="squash",
        values="half",
        flip=0.5,
        rotate=10.0,
        translate=0.1,
        zoom=0.1,
        brightness=0.15,
        contrast=0.15,
        saturation=0.15,
        hue=0.15,
    )


def finetune() -> Settings:
    """regard train DATA --recipe finetune --out runs/mine

    The head first, as a probe on frozen features; then all layers, the later ones faster (layer-wise decay), with
    AdamW, warm-up and cosine; the weights used are an average over the steps. With few pictures, how many layers are
    open, how fast they learn and how much of the starting point stays (WiSE-FT, arXiv 2109.01903) are chosen by
    cross-validation inside the training part. Nothing is ever chosen on the pictures set aside.
    """
    return Settings(crop=0.5, brightness=0.2, contrast=0.2, saturation=0.2)


def caption() -> CaptionSettings:
    """regard train DATA --recipe caption --out runs/mine

    What `--task caption` takes: the encoder of a ViT (or CATR's) and a decoder of its own, which learns the captions
    word by word, one of each picture's an epoch. The whole picture is seen, colours stay, and a mirrored picture has
    left and right exchanged in its caption, so that what is said stays true.
    """
    return CaptionSettings(epochs=20, learning_rate=1e-3, fit="squash", warm_up=0.05, smoothing=0.0)


PRESETS: Mapping[str, Callable[[], Settings]] = MappingProxyType(
    {"finetune": finetune, "dlcv": dlcv, "caption": caption}
)
"""The recipes that train the network itself."""

RECIPES = {
    "finetune": "all layers, from a probe's head; with few pictures careful by cross-validation: the default",
    "probe": "a logistic regression on frozen features: the first answer, in minutes on a laptop",
    "dlcv": "the source recipe: ViT-B/16 at 384, plain SGD, 30 epochs, best epoch kept",
    "caption": "a captioner: an encoder with a decoder that learns the captions; what --task caption takes",
}
"""What `--recipe` takes by name."""


@dataclass(frozen=True)
class Recipe:
    """A recipe's name, the arguments of the command that made a run (network, data columns, seed, ...), and, where the
    network itself is trained, its settings."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    settings: Settings | None = None

    def as_json(self) -> dict[str, Any]:
        stored: dict[str, Any] = {"schema": SCHEMA, "recipe": self.name, "arguments": dict(self.arguments)}
        return stored if self.settings is None else {**stored, "settings": self.settings.as_json()}

    def changed(self, overrides: Mapping[str, Any]) -> "Recipe":
        """This recipe with other settings; None leaves one as it is. Raises `UsageError` where it has none of them."""
        given = {name: value for name, value in overrides.items() if value is not None}
        if not given:
            return self
        if self.settings is None:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UsageError(f"the recipe {self.name!r} does not train the network and takes no {names}; leave it out")
        return replace(self, settings=self.settings.changed(given))


def read_recipe(text: str | Path) -> Recipe:
    """A recipe's name, or the path of a run's `recipe.json`. Raises `UsageError` for an unknown name."""
    if str(text) in RECIPES:
        return Recipe(str(text), settings=PRESETS[str(text)]() if str(text) in PRESETS else None)
    path = Path(text)
    if not path.is_file():
        raise unknown("recipe", text, RECIPES, "The path of a run's recipe.json does that run again.")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        check_schema(stored, path)
        name, arguments = stored["recipe"], dict(stored["arguments"])
        settings = None if stored.get("settings") is None else dict(stored["settings"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a run's recipe ({type(error).__name__}: {error})") from error
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return Recipe(name, arguments, None if name not in PRESETS else PRESETS[name]().changed(settings or {}))
