"""TASKS: what a network can be trained for, as data: each task's settings, its recipes, and where its code is.

Each preset below is one function whose docstring begins with its command. Importing this loads nothing heavy, so that
the command line can offer every setting of every task.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from regard.errors import UsageError, unknown
from regard.registry import Table
from regard.training.settings import Settings, option_of, setting

if TYPE_CHECKING:
    from regard.data.images.augment import Augmentation
    from regard.data.images.mixing import Mixing


@dataclass(frozen=True)
class ClassifierSettings(Settings):
    """How a classifier is trained. Raises `UsageError`."""

    class_weights: str = setting("none", "none, or balanced: rare classes count more.", choices=("none", "balanced"))
    head: str = setting(
        "probe", "The last layer starts from a probe fitted on frozen features, or is new.", choices=("probe", "new")
    )
    mix: float = setting(
        1.0, "Share of the tuned weights in the result; the rest is the starting point (WiSE-FT).", 0, 1
    )
    search: str = setting(
        "few",
        "When layers, rate and mix are chosen by cross-validation: few, always or never.",
        choices=("few", "always", "never"),
    )
    few: int = setting(1000, "Training pictures up to which they count as few: nothing is set aside.", 0)
    folds: int = setting(5, "Folds of that cross-validation, which also gives the score where nothing is set aside.", 2)
    mixup: float = setting(0.0, "Two pictures in one, the share of each from Beta(this, this); 0: never.", 0, 100)
    cutmix: float = setting(0.0, "A box of another picture in each, its size from Beta(this, this); 0: never.", 0, 100)
    randaugment: int = setting(0, "RandAugment: how many operations each picture goes through.", 0, 14)
    magnitude: float = setting(9.0, "RandAugment: how strong its operations are, of 30.", 0, 30)
    erase: float = setting(0.0, "How often a box of a picture is erased (filled with noise).", 0, 1)
    adapter: str = setting(
        "none",
        "What learns: the layers themselves (none), or a small adapter beside attention (lora), and the head.",
        choices=("none", "lora"),
    )
    rank: int = setting(8, "LoRA: rank of the adapter, which decides how large it is.", 1, 4096)
    alpha: float = setting(16.0, "LoRA: the adapter counts alpha / rank.", 0)
    adapter_dropout: float = setting(0.0, "LoRA: dropout on what goes into the adapter.", 0, 0.99)
    targets: str | None = setting(
        None, "LoRA: names of linear layers, with commas between; by default the projections of attention."
    )

    @property
    def augmentation(self) -> "Augmentation":
        return replace(super().augmentation, randaugment=self.randaugment, magnitude=self.magnitude, erase=self.erase)

    @property
    def mixing(self) -> "Mixing | None":
        from regard.data.images.mixing import Mixing

        return Mixing(self.mixup, self.cutmix) if self.mixup or self.cutmix else None


ADAPTED: Mapping[str, Any] = {"learning_rate": 2e-3, "layer_decay": 1.0}
"""What `--adapter lora` changes in a recipe beside itself: an adapter begins at nothing and needs a higher rate, and
all its layers the same one. What the user gives stays as it is."""


@dataclass(frozen=True)
class CaptionSettings(Settings):
    """How a captioner is trained: an encoder for pictures, and a decoder for words. Raises `UsageError`."""

    encoder_layers: int | None = setting(None, "Captioner: the encoder's first so many blocks; by default all.", 1)
    encoder_rate: float = setting(0.3, "Captioner: learning rate of the encoder as a share of the decoder's.", 0, 1)
    decoder_layers: int = setting(4, "Captioner: layers of the decoder.", 1, 48)
    decoder_width: int = setting(192, "Captioner: width of the decoder, a multiple of 4 and of its heads.", 4, 4096)
    decoder_heads: int = setting(6, "Captioner: attention heads in each layer of the decoder.", 1, 64)
    decoder_dropout: float = setting(0.1, "Captioner: dropout in the decoder.", 0, 0.99)
    vocabulary: str = setting(
        "own", "Captioner: words of these captions (own), or bert's pieces (bert).", choices=("own", "bert")
    )
    least: int = setting(1, "Captioner: how often a word must be in the captions to be one of the vocabulary.", 1)
    longest: int = setting(64, "Captioner: tokens of a caption at most, the end among them.", 2, 4096)
    overlong: str = setting(
        "leave-out",
        "Captioner: longer captions are left out of the training and named (leave-out), cut, or refused (refuse).",
        choices=("leave-out", "cut", "refuse"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decoder_width % self.decoder_heads or self.decoder_width % 4:
            raise UsageError(
                f"--decoder-width is {self.decoder_width}; it must be a multiple of 4 and of --decoder-heads, "
                f"{self.decoder_heads}"
            )

    def share(self, above: int) -> float:
        """The decoder has all of the learning rate, the encoder's last block `encoder_rate` of it."""
        return 1.0 if above == 0 else float(self.encoder_rate * self.layer_decay ** (above - 1))


def dlcv() -> ClassifierSettings:
    """regard train DATA --recipe dlcv --model B_16_imagenet1k.pth --size 384 --out runs/dlcv

    The source recipe, to the letter: a ViT-B/16 at 384 pixels with a new last layer, SGD without momentum or weight
    decay, the learning rate times 0.9 after each epoch, batches of 4, cross-entropy, 30 epochs, the best epoch kept (of
    equals the later), so that its validation accuracy is one "selected on" these pictures. "ColorJitter(0.15 each)" is
    read as each of the four that ColorJitter has, hue included; `--hue 0` leaves that out.
    """
    return ClassifierSettings(
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


def finetune() -> ClassifierSettings:
    """regard train DATA --recipe finetune --out runs/mine

    The head first, as a probe on frozen features; then all layers, the later ones faster (layer-wise decay), with
    AdamW, warm-up and cosine; the weights used are an average over the steps. With few pictures, how many layers are
    open, how fast they learn and how much of the starting point stays (WiSE-FT, arXiv 2109.01903) are chosen by
    cross-validation inside the training part. Nothing is ever chosen on the pictures set aside.
    """
    return ClassifierSettings(crop=0.5, brightness=0.2, contrast=0.2, saturation=0.2)


def recombine() -> ClassifierSettings:
    """regard train DATA --model RUN --recipe recombine --masks MASKS --out runs/mended

    A run's network trained on, each picture's object in front of the background of another picture, drawn without
    regard to its class (after ForAug, arXiv 2503.09399): what stands behind an object tells nothing of it. Twice as
    long as it looks, as a placebo is trained as long on the same pictures as they are.
    """
    return ClassifierSettings(epochs=5, learning_rate=3e-4, search="never", average="ema", ema_decay=0.99)


def multilabel() -> ClassifierSettings:
    """regard train DATA --task multilabel --out runs/mine

    As `finetune`, of pictures with any number of labels each, written as `cat|dog`: a head of a logistic regression for
    each label on frozen features, then all layers, with binary cross-entropy. Nothing is chosen by cross-validation; a
    fifth of the pictures is set aside for the score. `--class-weights balanced` lets the pictures that have a label
    weigh as much as those that have not.
    """
    return replace(finetune(), search="never", smoothing=0.0)


def caption() -> CaptionSettings:
    """regard train DATA --recipe caption --out runs/mine

    What `--task caption` takes: the encoder of a ViT (or CATR's) and a decoder of its own, which learns the captions
    word by word, one of each picture's an epoch. The whole picture is seen, colours stay, and a mirrored picture has
    left and right exchanged in its caption, so that what is said stays true.
    """
    return CaptionSettings(epochs=20, learning_rate=1e-3, fit="squash", warm_up=0.05, smoothing=0.0)


@dataclass(frozen=True)
class RecipeRow:
    """A recipe by name. `preset` gives its settings; None where the network itself is not trained. `target` is the
    "module:class" of a `base.Task` of its own."""

    name: str
    description: str
    preset: Callable[[], Settings] | None = None
    target: str = ""


@dataclass(frozen=True)
class TaskRow:
    """A row of TASKS. Its first recipe is what `--task` takes where no recipe is given."""

    name: str  # on the command line
    target: str  # "module:class" of a `base.Task`
    read: str  # "module:function" that reads DATA, given it and the column of labels
    description: str
    stored: str  # what model.json calls it
    model: str  # the network that `evaluate` takes by default
    networks: str  # what its networks are called, in messages
    targets: str  # what they learn, in messages
    settings: type[Settings]
    recipes: tuple[RecipeRow, ...]


TASKS = Table(
    "task",
    (
        TaskRow(
            name="classify",
            target="regard.training.tasks.classification:Classification",
            read="regard.data.layouts:read_labelled",
            description="learn the label of each picture",
            stored="classification",
            model="pets-tiny",
            networks="classifiers",
            targets="labels",
            settings=ClassifierSettings,
            recipes=(
                RecipeRow(
                    "finetune",
                    "all layers, from a probe's head; with few pictures careful by cross-validation: the default",
                    finetune,
                ),
                RecipeRow(
                    "probe", "a logistic regression on frozen features: the first answer, in minutes on a laptop"
                ),
                RecipeRow(
                    "reweigh",
                    "the last layer of --model RUN again, on --slice in equal numbers and pictures new to the run",
                    target="regard.training.tasks.mending.reweigh:Reweighing",
                ),
                RecipeRow(
                    "recombine",
                    "all layers of --model RUN, on objects in front of other backgrounds, where regions are known",
                    recombine,
                    "regard.training.tasks.mending.recombine:Recombining",
                ),
                RecipeRow("dlcv", "the source recipe: ViT-B/16 at 384, plain SGD, 30 epochs, best epoch kept", dlcv),
            ),
        ),
        TaskRow(
            name="multilabel",
            target="regard.training.tasks.multilabel.task:MultiLabel",
            read="regard.data.layouts.multilabel:read_multilabelled",
            description="learn which of several labels each picture has",
            stored="multi-label classification",
            model="pets-tiny",
            networks="classifiers",
            targets="labels",
            settings=ClassifierSettings,
            recipes=(
                RecipeRow(
                    "multilabel",
                    "several labels a picture: all layers, from a probe's head; what --task multilabel takes",
                    multilabel,
                ),
                RecipeRow(
                    "multilabel-probe",
                    "several labels a picture: a logistic regression for each label on frozen features",
                ),
            ),
        ),
        TaskRow(
            name="caption",
            target="regard.training.tasks.captioning:Captioning",
            read="regard.data.layouts.captions:read_captioned",
            description="learn to describe pictures",
            stored="captioning",
            model="scenes-captioner",
            networks="captioners",
            targets="captions",
            settings=CaptionSettings,
            recipes=(
                RecipeRow(
                    "caption",
                    "a captioner: an encoder with a decoder that learns the captions; what --task caption takes",
                    caption,
                ),
            ),
        ),
    ),
    group="regard.tasks",
)

FORMER: Mapping[str, Any] = {"folds": 3}
"""Defaults that were others once: runs of then have them without anybody having asked for them."""

DEFAULT = "classify"
"""The task of a network that names none."""


def recipes() -> dict[str, tuple[TaskRow, RecipeRow]]:
    """What `--recipe` takes, by name, with the task it is of."""
    return {row.name: (task, row) for task in TASKS for row in task.recipes}


def all_settings() -> "dict[str, Field[Any]]":
    """Every setting of every task by name: those that all have first."""
    common = {each.name: each for each in fields(Settings)}
    return common | {each.name: each for task in TASKS for each in fields(task.settings)}


def find_task(name: str | None) -> TaskRow | None:
    """The task, if one is named. Raises `UsageError` for one that there is not."""
    if name is not None and name not in TASKS:
        raise unknown("task", name, TASKS.names)
    return None if name is None else TASKS[name]


def with_changes(settings: Settings, overrides: Mapping[str, Any]) -> Settings:
    """Settings with others in their place; None leaves one as it is, as does another task's setting at its default.

    Raises `UsageError`: a setting of another task says whose it is, of an unknown one the nearest are offered.
    """
    names = {each.name for each in fields(settings)}
    changes = {}
    for name, value in overrides.items():
        if value is None:
            continue
        if name in names:
            changes[name] = value
            continue
        others = [task for task in TASKS if name in {each.name for each in fields(task.settings)}]
        if not others:
            raise unknown("setting", name, names, "`regard train --help` explains each.")
        if value not in (getattr(others[0].settings(), name), FORMER.get(name)):
            raise UsageError(_foreign(name, others[0], settings))
    if changes.get("adapter", "none") != "none" and getattr(settings, "adapter", None) == "none":
        changes = {**ADAPTED, **changes}
    return replace(settings, **changes)


def _foreign(name: str, owner: TaskRow, settings: Settings) -> str:
    if owner.name != DEFAULT:
        return f"{option_of(name)} is for {owner.networks}; give --task {owner.name} with it, or leave it out"
    task = next(task for task in TASKS if type(settings) is task.settings)
    return f"{option_of(name)} is for {owner.networks}, not for {task.targets}; leave it out"
