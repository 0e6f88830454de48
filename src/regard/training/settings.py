"""Settings: how a network is trained, as a small frozen record that is saved with the run; each explains itself.

Here are those that every task has; `tasks.table` has those of one task. Each is an option of `regard train`.
"""

import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from regard.errors import UsageError, unknown

if TYPE_CHECKING:
    from regard.data.images.augment import Augmentation
    from regard.data.images.mixing import Mixing
    from regard.data.images.preparation import Preparation


def setting(
    default: Any, text: str, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    """A field with its explanation, and its range, both ends of which are allowed, or the words it takes."""
    return field(default=default, metadata={"help": text, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class Settings:
    """How a network is trained. Raises `UsageError` for a value that is out of range, saying what is allowed."""

    epochs: int = setting(5, "How often every training picture is seen.", 1)
    batch_size: int = setting(32, "Pictures at a time, over all processes together.", 1)
    accumulate: int = setting(1, "Batches whose gradients are added up before each step.", 1)
    optimiser: str = setting("adamw", "adamw or sgd.", choices=("adamw", "sgd"))
    learning_rate: float = setting(3e-4, "Of the last layer; earlier ones have less, see --layer-decay.", 0)
    momentum: float = setting(0.0, "Momentum of sgd; adamw has its own.", 0, 0.9999)
    weight_decay: float = setting(0.05, "Pull of weights towards zero; none for biases, norms and positions.", 0)
    layer_decay: float = setting(
        0.75, "Learning rate of each block as a share of the next one's; 1 for all the same.", 0, 1
    )
    schedule: str = setting(
        "cosine",
        "How the learning rate falls: cosine, exponential (each epoch) or constant.",
        choices=("cosine", "exponential", "constant"),
    )
    decay: float = setting(0.9, "Factor on the learning rate after each epoch, for the exponential schedule.", 0, 1)
    warm_up: float = setting(0.1, "Share of all steps in which the learning rate rises from zero.", 0, 1)
    clip: float = setting(1.0, "Largest norm of the gradient; 0 for no limit.", 0)
    smoothing: float = setting(0.1, "Label smoothing: share of the target given to all classes alike.", 0, 0.99)
    dropout: float = setting(0.0, "On attention weights, after the attention's projection and after the MLP.", 0, 0.99)
    drop_path: float = setting(
        0.0, "Stochastic depth: how often the last block is left out (earlier ones less).", 0, 0.99
    )
    open_layers: int | None = setting(None, "Train only the last so many blocks and the head; by default all.", 0)
    average: str = setting(
        "ema",
        "Weights that are used: none (the last), ema or swa (averaged over steps).",
        choices=("none", "ema", "swa"),
    )
    ema_decay: float = setting(0.998, "How slowly the ema follows.", 0, 0.999999)
    swa_share: float = setting(0.25, "Share of the last steps over which swa averages.", 0, 1)
    keep: str = setting(
        "last", "Which epoch's weights are used: last, or best on the pictures set aside.", choices=("last", "best")
    )
    patience: int = setting(0, "Stop after so many epochs that are no better on the pictures set aside; 0: never.", 0)
    precision: str = setting(
        "auto",
        "What the training computes in: float32, bfloat16, or auto (the faster, by machine).",
        choices=("auto", "float32", "bfloat16"),
    )
    virtual_ranks: int = setting(
        0,
        "Shares of a batch (a power of two, such as 8) that make 1, 2, 4 or 8 processes give the same bytes; 0: none.",
        0,
        64,
    )
    recompute: str = setting(
        "none",
        "Memory for time: blocks are computed twice, and less of them is kept (gradient checkpointing).",
        choices=("none", "blocks"),
    )
    fit: str = setting(
        "own",
        "How pictures become the input: as the network's own, by crop, or by squash.",
        choices=("own", "crop", "squash"),
    )
    values: str = setting(
        "own",
        "Values of pixels: own, as the network's preparation has them, or half: from -1 to 1.",
        choices=("own", "half"),
    )
    crop: float = setting(1.0, "Least share of the picture that a random crop keeps; 1 for no random crop.", 0.01, 1)
    flip: float = setting(0.5, "How often a picture is mirrored.", 0, 1)
    rotate: float = setting(0.0, "Largest random turn, in degrees.", 0, 180)
    translate: float = setting(0.0, "Largest random shift, as a share of the side.", 0, 1)
    zoom: float = setting(0.0, "Largest random zoom: 0.1 for 0.9 to 1.1.", 0, 0.99)
    brightness: float = setting(0.0, "Largest random change of brightness, as a share.", 0, 1)
    contrast: float = setting(0.0, "Largest random change of contrast, as a share.", 0, 1)
    saturation: float = setting(0.0, "Largest random change of saturation, as a share.", 0, 1)
    hue: float = setting(0.0, "Largest random change of hue, as a share of the colour circle.", 0, 0.5)

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(each, getattr(self, each.name))
        if self.virtual_ranks & self.virtual_ranks - 1:
            raise UsageError(
                f"--virtual-ranks is {self.virtual_ranks}, and gradients are added up in pairs; it must be 0, or a "
                "power of two up to 64"
            )

    def share(self, above: int) -> float:
        """The part of the learning rate that a layer has which lies so many layers below the last."""
        return float(self.layer_decay**above)

    @property
    def augmentation(self) -> "Augmentation":
        """The random changes to training pictures; imported late, as `--help` reads the settings without torch."""
        from regard.data.images.augment import Augmentation

        geometry = {name: getattr(self, name) for name in ("crop", "flip", "rotate", "translate")}
        colours = {name: getattr(self, name) for name in ("brightness", "contrast", "saturation", "hue")}
        return Augmentation(**geometry, scale=(1 - self.zoom, 1 + self.zoom), **colours)

    @property
    def mixing(self) -> "Mixing | None":
        """How two pictures become one; None where they do not."""
        return None

    def prepared(self, preparation: "Preparation") -> "Preparation":
        """How pictures become the input where the settings ask for another way than the network's own."""
        if self.fit not in ("own", preparation.mode):
            preparation = replace(preparation.whole(), mode=self.fit)
        half = (0.5,) * preparation.channels
        return replace(preparation, mean=half, std=half) if self.values == "half" else preparation

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


_KINDS: Mapping[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: (int | float, "a number"),
    str: (str, "a word"),
    int | None: (int | None, "a whole number"),
    str | None: (str | None, "a word"),
}


def _check(each: "Field[Any]", value: Any) -> None:
    """One value against its type, its words and its range."""
    option = option_of(each.name)
    kind, text = _KINDS[each.type]
    if isinstance(value, bool) or not isinstance(value, kind):
        raise UsageError(f"{option} is {value!r}, which is not {text}; {each.metadata['help']}")
    choices = each.metadata["choices"]
    if choices and value not in choices:
        raise unknown(f"value for {option}", value, choices)
    low = each.metadata["low"]
    high = each.metadata["high"]
    if value is None or low is None:
        return
    if not low <= value <= (math.inf if high is None else high) or math.isinf(value):  # NaN is refused here too
        allowed = f"at least {low}" if high is None else f"from {low} to {high}"
        raise UsageError(f"{option} is {value}; it must be {allowed}. {each.metadata['help']}")


def option_of(name: str) -> str:
    """A setting's option on the command line."""
    return f"--{name.replace('_', '-')}"
