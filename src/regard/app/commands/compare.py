"""`regard compare`: runs side by side on the same pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from regard.app import options as opt
from regard.data import MAX_PIXELS
from regard.errors import UsageError
from regard.files import check_free, new_folder, write_file

if TYPE_CHECKING:
    from regard.records import Audit, AuditComparison, Comparison, LabelComparison, WordAudit, WordAuditComparison

    Compared = Comparison | LabelComparison | AuditComparison | WordAuditComparison


def compare(
    runs: Annotated[
        Sequence[str | Path],
        opt.argument("Two runs or audits or more; the others are compared with the first.", type=list[str]),
    ],
    data: Annotated[
        str | Path | None,
        opt.option("Score all on these pictures, instead of what they scored when trained.", type=Path | None),
    ] = None,
    label: opt.Label = "label",
    split: opt.Split = None,
    group: opt.Group = None,
    slices: opt.Slices = None,
    keep_seen: Annotated[
        bool, opt.option("Score pictures of the trainings too.", "--keep-seen", panel=opt.DATA)
    ] = False,
    device: opt.Device = None,
    precision: opt.Precision = "float32",
    batch_size: opt.BatchSize = 32,
    workers: opt.Workers = 2,
    seed: opt.Seed = 0,
    max_pixels: opt.MaxPixels = MAX_PIXELS,
    skip_bad: opt.SkipBad = False,
    out: opt.MaybeOut = None,
    no_pictures: opt.NoPictures = False,
    anonymise: opt.Anonymise = False,
    overwrite: opt.Overwrite = False,
) -> "Compared":
    """Compare runs on the very same pictures: one table with paired differences.

    Without `data` on what each run scored when it was trained; with it, all are scored on the same part of `data`,
    less the pictures that any of them was trained on. With `out` a result folder: the page `report.html` with the
    differences by class and by slice and the pictures that changed, and the same as JSON and tables. Raises `DataError`
    when the runs' pictures differ. Of runs that give several labels a picture it is mAP that is compared, and each
    label's average precision. Folders of `regard audit` are laid side by side: verdicts, numbers and, of the same
    pictures, paired differences.
    """
    from regard.results.audits import read_audits
    from regard.results.comparisons import run_names

    names = run_names(runs)
    if out is not None:
        check_free(out, overwrite)
    if (audits := read_audits(names)) is not None:
        if data is not None or slices or group:
            raise UsageError("audits are compared as they are; leave out --data, --slice and --group")
        return _compare_audits(audits, None if out is None else Path(out), anonymise, overwrite)
    from regard.app.console import progress
    from regard.data.dataset import skipper
    from regard.measurement.multilabel.scoring import are_multilabel
    from regard.networks.arguments import check_arguments
    from regard.registry import load
    from regard.training.tasks.table import TASKS

    check_arguments(None, precision=precision)
    task = "multilabel" if are_multilabel(names) else "classify"
    of_task = f"regard.measurement.{'multilabel' if task == 'multilabel' else 'classification'}"
    stored, predict_common, measure = (
        load("compare", f"{of_task}.{name}")
        for name in ("scoring:stored_predictions", "scoring:predict_common", "compare:compare")
    )
    dataset = None
    notes: dict[str, str] = {}
    reading = {"batch_size": batch_size, "workers": workers, "on_bad": skipper(skip_bad), "progress": progress}
    if data is None:
        if slices or group:
            raise UsageError("--slice and --group are columns of --data; without it the runs' own columns are compared")
        predictions = {name: stored(run) for name, run in names.items()}
    else:
        dataset = TASKS.load(task, "read")(data, label).up_to(max_pixels).check(split, group, *(slices or ()))
        predictions, notes = predict_common(
            names,
            dataset,
            split=split,
            columns={"group": group, "slices": tuple(slices or ())},
            keep_seen=keep_seen,
            reading=reading,
            device=device,
            precision=precision,
            seed=seed,
        )
    comparison = measure(predictions, seed=seed, notes=notes)
    if out is not None:
        from regard.data.images.thumbnails import thumbnails
        from regard.rendering.pages.comparison import ComparisonPage, changed_names, comparison_page
        from regard.rendering.pages.labels import label_comparison_page
        from regard.results.comparisons import FILES, write_comparison

        if task == "multilabel":
            html = label_comparison_page(Path(out).name, comparison, anonymise)
        else:
            images = {} if dataset is None or no_pictures else thumbnails(dataset, changed_names(comparison))
            html = comparison_page(ComparisonPage(Path(out).name, comparison, images, FILES, anonymise))
        with new_folder(out, overwrite) as folder:
            write_file(folder / "report.html", html)
            write_comparison(folder, comparison)
    return comparison


def _compare_audits(
    audits: "dict[str, Audit] | dict[str, WordAudit]", out: Path | None, anonymise: bool, overwrite: bool
) -> "AuditComparison | WordAuditComparison":
    from regard.measurement.word_audits import compare_any_audits
    from regard.rendering.pages.audits.captioners import any_audits_page
    from regard.results.audits import write_audit_comparison

    comparison = compare_any_audits(audits)
    if out is not None:
        with new_folder(out, overwrite) as folder:
            write_file(folder / "report.html", any_audits_page(comparison, out.name, anonymise))
            write_audit_comparison(folder, comparison)
    return comparison


def as_json(comparison: "Compared") -> dict[str, Any]:
    from regard.results import comparisons

    return comparisons.as_json(comparison)


def as_text(comparison: "Compared") -> str:
    return comparison.text
