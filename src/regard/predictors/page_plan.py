"""What goes into a page of inspections: `--page` and what comes with it, checked, and the inspections themselves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from regard.errors import UsageError
from regard.explanation import DEFAULT_METHODS
from regard.files import check_free
from regard.progress import Progress, silent
from regard.records import Inspection
from regard.records.inspection import MOST_ON_A_PAGE

if TYPE_CHECKING:
    from regard.data.dataset import Dataset
    from regard.predictors.inspector.maps import FindVerdict
    from regard.predictors.predictor import Predictor


@dataclass(frozen=True)
class PageContent:
    """The inspections by the names of their pictures, and what stands around them on their page."""

    title: str
    pictures: Mapping[str, Sequence[Inspection]]
    classes: Sequence[str] = ()
    messages: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PagePlan:
    """A page that is to be written to `file`: by which methods, of which further networks, and what it may show."""

    file: Path
    methods: tuple[str, ...] = ()
    beside: tuple[str | Path, ...] = ()
    show_pictures: bool = True
    anonymise: bool = False

    @classmethod
    def of(
        cls,
        page: str | Path | None,
        overwrite: bool,
        methods: str | Sequence[str] | None = None,
        beside: Sequence[str | Path] | None = None,
        no_pictures: bool = False,
        anonymise: bool = False,
    ) -> Self | None:
        """Check the options against each other; None without a page. Raises `UsageError` for what does not fit."""
        options = {"methods": methods, "beside": beside, "no-pictures": no_pictures, "anonymise": anonymise}
        if page is None:
            lonely = [name for name, value in options.items() if value]
            if lonely:
                raise UsageError(f"--{lonely[0]} is of a page; give --page FILE.html too")
            return None
        if Path(page).suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"--page {page} is not the name of a page; it must end in .html")
        check_free(page, overwrite)
        names = methods.split(",") if isinstance(methods, str) else methods or ()
        chosen = tuple(name.strip() for name in names if name.strip())
        return cls(Path(page), chosen, tuple(beside or ()), not no_pictures, anonymise)

    def inspect(
        self,
        predictor: "Predictor",
        model: Any,
        dataset: "Dataset",
        settings: Mapping[str, Any],
        verdicts: "Callable[[Any], FindVerdict] | None" = None,
        progress: Progress = silent,
        **reading: Any,
    ) -> PageContent:
        """The inspections of the pictures by the predictor's network, which is `model`, and by those beside it.

        `settings` are of an inspector's call, `verdicts` makes what finds those of a model; `reading` is as in
        `inspect_all`.
        """
        from regard.measurement.selection import learnt_by
        from regard.predictors.inspector.batch import absent_methods, inspect_all
        from regard.predictors.inspector.inspector import Inspector

        device = predictor.network.device
        inspectors = [Inspector(predictor.network), *(Inspector(each, device=device) for each in self.beside)]
        models = [model, *self.beside]
        methods = self.methods or DEFAULT_METHODS
        pictures = dataset.pictures[: MOST_ON_A_PAGE // len(models)]
        inspections = inspect_all(
            inspectors,
            pictures,
            {"methods": methods, **settings},
            learnt=[learnt_by(each) for each in models],
            verdicts=[] if verdicts is None else [verdicts(each) for each in models],
            progress=progress,
            **reading,
        )
        messages = absent_methods(inspections, methods)
        if len(pictures) < len(dataset):
            messages.append(f"This file holds the first {len(pictures)} of {len(dataset)} pictures.")
        classes = list(dict.fromkeys(name for each in inspectors for name in each.network.classes or ()))
        title = f"What {predictor.network.name} looks at"
        return PageContent(title, inspections, classes, messages, predictor.provenance)
