"""What every task of TASKS does, and the records that pass between a task, the run around it, and its report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from regard.data.dataset import Dataset
from regard.data.splits import SplitRow
from regard.errors import UsageError
from regard.networks.network import Network
from regard.progress import Progress, silent
from regard.records import Evaluation, Mending, MultiLabelEvaluation, Score
from regard.results.evaluations import Figures
from regard.training.recipe import Recipe
from regard.training.session import Options


class AnyEvaluation(Protocol):
    """The score of a network on `n` pictures, of any task: an `Evaluation`, a `CaptionEvaluation`, or your own."""

    @property
    def scores(self) -> Mapping[str, Score]: ...

    @property
    def n(self) -> int: ...

    @property
    def note(self) -> str: ...

    @property
    def provenance(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Parts:
    """The two sides of a split, and the SHA-256 of every picture by name.

    `validation` may be empty. `together` gives pictures by name equal numbers that may not be parted: of one group, or
    copies of one another. `earlier` are pictures that the network had learnt before.
    """

    training: Dataset
    validation: Dataset
    hashes: Mapping[str, str]
    together: Mapping[str, int] = field(default_factory=dict)
    earlier: Sequence[SplitRow] = ()


@dataclass(frozen=True)
class CrossValidation:
    """What networks answered that had not seen the picture.

    `folds` (pictures,) is the fold that each was left out in, `logits` (candidates, pictures, classes) float32 what
    each candidate then gave; `chosen` is the candidate that the training took.
    """

    folds: Any
    logits: Any
    chosen: int


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    `metrics` are the lines of `metrics.jsonl`, `messages` what the user should know; `facts` say what was chosen, for
    the report. `selected`: whether the validation pictures had a say in which weights are used. `main`: whether this
    process is the one that writes. `logits` (validation pictures, classes) float32 are those of a classifier's weights
    that are used; `cross_validation` is its score where no pictures are set aside. `parts`: the pictures that took
    part, where some could not be read or learnt. `times` are the lines of `timing.jsonl`, of a recipe that does not
    train the network itself; `mending` is what fitting a last layer again did.
    """

    metrics: tuple[dict[str, Any], ...]
    messages: tuple[str, ...]
    facts: dict[str, Any]
    selected: bool
    main: bool
    logits: Any = None
    cross_validation: CrossValidation | None = None
    parts: Parts | None = None
    times: tuple[dict[str, Any], ...] = ()
    mending: Mending | None = None


@dataclass(frozen=True)
class EvaluationOptions:
    """What `evaluate` may be given beside DATA and network; each as the option of that name."""

    weights: str | Path | None = None
    weights_part: str | None = None
    predictions: str | Path | None = None
    label: str = "label"
    split: str | None = None
    group: str | None = None
    slices: Sequence[str] = ()
    keep_seen: bool = False
    threshold: float | None = None
    size: int | None = None
    device: str | None = None
    precision: str = "float32"
    batch_size: int = 32
    workers: int = 2
    seed: int = 0
    skip_bad: bool = False
    tta: str | None = None
    progress: Progress = silent

    def check_views(self, stored: str) -> None:
        """Raise `UsageError` where several views of each picture are asked for, and the answers are stored ones."""
        if self.tta is not None and stored:
            raise UsageError(
                f"--tta looks at each picture anew, and these answers are {stored}; leave it out, or, of a run, give "
                "--keep-seen to score the network that was kept"
            )


@dataclass(frozen=True)
class Evaluated:
    """An evaluation with the network (None: predictions made elsewhere) and the pictures that were scored."""

    evaluation: Any
    network: Any
    pictures: Dataset


@dataclass(frozen=True)
class PageContent:
    """What a task's page shows of a run or an evaluation; whatever is empty is left out.

    `evaluation` is drawn with its classes and galleries, `labels` with its labels; `captions` stand below the pictures
    of their names; `network` shows its attention and positions.
    """

    facts: Mapping[str, str]
    messages: Sequence[str] = ()
    evaluation: Evaluation | None = None
    captions: Mapping[str, str] = field(default_factory=dict)
    network: Network | None = None
    labels: MultiLabelEvaluation | None = None


class Task(Protocol):
    """What a network can be trained for: reads DATA, builds, trains, scores, saves, and says what its page shows."""

    def check(self, recipe: Recipe) -> None:
        """Raise `UsageError` for arguments that this task has no use for."""

    def split(self, dataset: Dataset, recipe: Recipe, twins: Iterable[tuple[int, int]]) -> tuple[Dataset, Dataset]:
        """(training, validation), which may be empty; `twins` are pairs of indices that stay on one side."""

    def doubts(self, dataset: Dataset, pairs: Sequence[Any]) -> list[str]:
        """What is wrong about pictures that are there twice (`hashes.Duplicate`), as messages."""

    def build(self, recipe: Recipe, training: Dataset, device: str | None, precision: str | None) -> Any:
        """The network that is to be trained."""

    def train(self, network: Any, parts: Parts, recipe: Recipe, folder: Path, options: Options) -> Outcome:
        """Train the network in place; the folder holds all that is needed to resume."""

    def score(self, network: Any, parts: Parts, outcome: Outcome, recipe: Recipe, options: Options) -> Any:
        """The evaluation of a trained network on the pictures set aside, or by cross-validation; None without
        either."""

    def save(self, network: Any, folder: Path) -> None:
        """Write the network, `model.json` last, over one that an interrupted run left there."""

    def stored(self, run: Path) -> Any:
        """The evaluation of a finished run, from its folder; None where it has none."""

    def evaluate(self, dataset: Dataset, model: str | Path, options: EvaluationOptions) -> Evaluated:
        """Score a network of any origin. Raises `UsageError` for options that this task has no use for."""

    def write(self, folder: Path, evaluation: Any, seed: int, figures: Figures) -> None:
        """Write an evaluation into a folder; `figures` draws a classifier's charts."""

    def as_json(self, evaluation: Any) -> dict[str, Any]:
        """The evaluation as the command prints it."""

    def headline(self, evaluation: Any) -> str:
        """The score of the pictures set aside in a sentence."""

    def details(self, evaluation: Any) -> list[str]:
        """Lines that `evaluate` prints below the scores."""

    def page(
        self, result: Evaluated, facts: Mapping[str, str] | None = None, parts: Parts | None = None
    ) -> PageContent:
        """What the report shows; of a training with its `facts` and parts."""


def fact_text(value: Any) -> str:
    """A fact of a training for the report."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {fact_text(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
