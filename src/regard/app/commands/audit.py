"""`regard audit`: which map can be trusted on this model, and what the model relies on."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from regard.app import options as opt
from regard.app.console import progress
from regard.app.listing import Printed
from regard.audit.words.kinds import check_kind
from regard.data import MAX_PIXELS
from regard.files import check_free, write_file, write_json
from regard.jobs.bulk.arguments import is_bulk_result, run_bulk_audit

if TYPE_CHECKING:
    from regard.jobs.bulk.audit import BulkAudit
    from regard.records import Audit, WordAudit

log = logging.getLogger("regard")


@dataclass(frozen=True, repr=False)
class AuditResult(Printed):
    """The audit, where it was written, if it was, and a line for each rule of `require` that it does not meet."""

    audit: "Audit | WordAudit"
    out: Path | None = None
    unmet: tuple[str, ...] = ()


def audit(
    data: opt.Data,
    out: opt.MaybeOut = None,
    model: opt.AnyModel = "pets-tiny",
    weights: opt.Weights = None,
    weights_part: opt.WeightsPart = None,
    masks: opt.Masks = None,
    methods: Annotated[
        Sequence[str] | None,
        opt.option("A method to audit, or several with commas; may be repeated.", panel=opt.METHOD,
                   type=list[str] | None, complete=opt.complete_picture_methods),
    ] = None,
    maps: Annotated[
        str | Path | None,
        opt.option("Folder of maps from outside (docs/audit.md).", panel=opt.METHOD, type=Path | None),
    ] = None,
    captions: opt.CaptionsFile = None,
    which: opt.Which = "all",
    layer: opt.DecoderLayer = None,
    head: opt.DecoderHead = None,
    require: Annotated[
        Sequence[str] | None,
        opt.option("A rule, such as 'worst_slice>=0.8', else exit 1; may be repeated.", type=list[str] | None),
    ] = None,
    before: Annotated[str | Path | None, opt.option(
        "An audit of the same pictures, or a bulk result: what changed since.", type=str | None, panel=opt.OUTPUT
    )] = None,
    full: Annotated[
        bool, opt.option("All occluders, an adversary and a ceiling too.", "--full", panel=opt.WORK)
    ] = False,
    in_domain: Annotated[
        bool, opt.option("Also on a copy trained with patches gone.", "--in-domain", panel=opt.WORK)
    ] = False,
    image: opt.ImageColumn = None,
    split: opt.Split = None,
    group: opt.Group = None,
    slices: opt.Slices = None,
    keep_seen: opt.KeepSeen = False,
    size: opt.Size = None,
    device: opt.Device = None,
    batch_size: opt.BatchSize = 8,
    workers: opt.Workers = 2,
    seed: opt.Seed = 0,
    max_pixels: opt.MaxPixels = MAX_PIXELS,
    skip_bad: opt.SkipBad = False,
    no_pictures: opt.NoPictures = False,
    overwrite: opt.Overwrite = False,
) -> "AuditResult | BulkAudit":  # fmt: skip
    """Audit a classifier (which method's map to believe here, what it relies on), or a captioner (where words look).

    Measured is `split`, by default `val`, else `test`, else everything, without pictures of the training. `methods` are
    by default attention, rollout, gradcam, grad_attention and libra_fullgrad_plus; `maps` from outside are audited
    beside them where they are named too, else alone. Where the object is, `masks` say, or DATA itself; without, the
    parts that need it are left out and named, as are those that need labels. See docs/audit.md for what numbers mean.

    Into the folder `out` go the page `report.html`, `audit.json`, `pictures.parquet`, maps of a few pictures and
    `verdicts.json`, which also goes into the run that `model` names; `regard explain` then shows a map's verdict. A
    rule of `require` holds a measure against a number: `top1>=0.8`, `worst_slice>=0.8`, `srg:attention.low>=0.3`,
    `verdict:attention=supported`. With `before`, an audit of the same pictures, it says, paired, what changed since,
    what it cost and whether it is real; `before.html` has both. With `in_domain` there is a second verdict, of a
    copy that was trained, on the rest of DATA, with patches gone. An audit that was interrupted is gone on with.

    Of a captioner DATA know what words speak of: a folder of drawn scenes, or a COCO .json with masks. Its own captions
    are audited, or those of the file `captions` (of several for a picture the one at `which`, or all), by one of the
    `methods` of words, of a decoder's `layer` and `head`; with wrong words enough also `support.json` is fitted.

    DATA may be what `regard predict --jobs` wrote, and `before` such of another date: see docs/bulk.md.

    >>> import regard
    >>> _ = regard.scenes(3, "drawn", size=64)
    >>> network = regard.load("random:vit_tiny_patch16_224", classes=["bird", "cat", "dog"])
    >>> result = regard.audit("drawn", model=network, methods=["gradcam"], split="all", workers=0)
    >>> result.audit.verdict("gradcam").status
    'not decidable'
    """
    if is_bulk_result(data):
        return run_bulk_audit(audit, locals())
    if check_kind(locals(), signature(audit).parameters):
        return _of_words(locals())
    from regard.audit.requirements import Requirement, check_rules, unmet
    from regard.audit.settings import AuditSettings
    from regard.data.layouts import read
    from regard.data.regions import own_regions, regions_of
    from regard.explanation import method_named
    from regard.measurement.selection import scored_part
    from regard.networks.arguments import check_arguments
    from regard.networks.run import is_run
    from regard.predictors.command_inputs import check_data
    from regard.results.audits import read_audit

    check_data(data, "audit")
    named = tuple(dict.fromkeys(name.strip() for each in methods or () for name in each.split(",") if name.strip()))
    for name in named:
        method_named(name, "picture")
    earlier = None if before is None else (Path(before).name, read_audit(before))
    rules = [Requirement.parse(each) for each in require or ()]
    if out is not None:
        check_free(out, overwrite)
    check_arguments(model, weights, weights_part)
    dataset = read(data, labels=False, image=image).up_to(max_pixels).check(split, group, *(slices or ()))
    regions = own_regions(data) if masks is None else regions_of(masks, max_pixels=max_pixels)
    outside = None if maps is None else Path(maps)
    check_rules(rules, named, outside, dataset, tuple(slices or ()), regions is not None)
    # torch is imported when nothing else is wrong
    from regard.audit.audit import AuditOutput
    from regard.audit.audit import audit as audit_network
    from regard.data.images.thumbnails import thumbnails
    from regard.measurement.audits import NOW, compare_audits
    from regard.networks.load import load
    from regard.rendering.pages.audits.audit import audit_page, picture_names
    from regard.rendering.pages.audits.comparison import audits_page

    network = load(model, weights=weights, weights_part=weights_part, size=size, device=device, seed=seed)
    part, note = scored_part(dataset, model, split, keep_seen)
    work: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "workers": workers, "skip_bad": skip_bad}
    settings = AuditSettings(named, outside, group, tuple(slices or ()), full=full, in_domain=in_domain, **work)

    def write_page(folder: Path, record: "Audit") -> None:
        images = thumbnails(part, () if no_pictures else picture_names(record))
        write_file(folder / "report.html", audit_page(record, images))
        if earlier is not None:
            both = compare_audits(dict([earlier, (NOW, record)]))
            write_file(folder / "before.html", audits_page(both, Path(out or "").name))
            write_json(folder / "before.json", both.as_json())

    into_run = isinstance(model, str | Path) and weights is None and size is None and is_run(model)
    record = audit_network(
        network,
        part,
        settings,
        regions=regions,
        note="seen in training" if note else "",
        output=AuditOutput(
            None if out is None else Path(out), Path(model) if into_run else None, overwrite, write_page, earlier
        ),
        every=dataset,
        progress=progress,
    )
    return _checked(record, out, unmet(record, rules))


def _of_words(values: Mapping[str, Any]) -> AuditResult:
    """The audit of a captioner; `values` are the arguments of `audit`."""
    from regard.audit.words.command import audit_captioner
    from regard.audit.words.requirements import WordRequirement, unmet
    from regard.rendering.pages.audits.captioner import word_audit_page

    def write_page(folder: Path, record: "WordAudit") -> None:
        write_file(folder / "report.html", word_audit_page(record, pictures=not values["no_pictures"]))

    rules = [WordRequirement.parse(each) for each in values["require"] or ()]
    record = audit_captioner(values, write_page, progress)
    return _checked(record, values["out"], unmet(record, rules))


def _checked(record: "Audit | WordAudit", out: str | Path | None, lines: tuple[str, ...]) -> AuditResult:
    for line in lines:
        log.error(line)
    return AuditResult(record, None if out is None else Path(out), lines)


def exit_code(result: AuditResult) -> int:
    """1 where a rule of `require` is not met."""
    return 1 if result.unmet else 0


def as_json(result: AuditResult) -> dict[str, Any]:
    out = None if result.out is None else str(result.out)
    return {"out": out, "unmet": list(result.unmet), **result.audit.as_json()}


def as_text(result: AuditResult) -> str:
    return result.audit.text + ("" if result.out is None else f"\nwritten to {result.out}")
