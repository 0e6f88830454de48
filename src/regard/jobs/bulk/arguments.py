"""The arguments of `regard predict|explain|caption --jobs` → a work: what units have, and what they have not."""

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.errors import DataError, UsageError
from regard.files import check_free, is_file, write_json
from regard.progress import Progress

if TYPE_CHECKING:
    from regard.jobs.bulk.audit import BulkAudit
    from regard.jobs.bulk.run import BulkRun

ONLY = ("columns", "dry_run", "unit", "threads", "masks")
"""Options of bulk work alone."""
ALWAYS = (
    "pictures",
    "out",
    "model",
    "jobs",
    "batch_size",
    "workers",
    "max_pixels",
    "image",
    "skip_bad",
    "overwrite",
    "tta",
    *ONLY,
)
NETWORK: Mapping[str, tuple[str, ...]] = {
    "predict": ("weights", "weights_part", "size", "device", "precision", "seed"),
    "explain": ("weights", "weights_part", "size", "device", "precision", "seed", "grid"),
    "caption": ("device", "precision"),
}
"""What a predictor is loaded with."""
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "predict": (),
    "explain": ("method", *["layer", "head", "query", "start", "target", "against", "steps", "samples", "seed"]),
    "caption": ("method", *["prompt", "beams", "limit", "row", "layer", "head", "start"]),
}


def is_bulk(values: Mapping[str, Any]) -> bool:
    """Whether the arguments of a command mean bulk work. Raises `UsageError` for its options without it."""
    out = str(values["out"] or "")
    if values["jobs"] or "://" in out:
        return True
    alone = [name for name in ONLY if values.get(name)]
    if alone:
        raise UsageError(f"--{alone[0].replace('_', '-')} is of bulk work; give --jobs local with it, or leave it out")
    return False


def run_bulk(command: Callable[..., Any], values: Mapping[str, Any], progress: Progress) -> "BulkRun":
    """Do a command's work in units; `values` are its arguments. Raises `UsageError` for those that units have not."""
    name = command.__name__
    network = {each: values[each] for each in NETWORK[name]}
    settings = {each: values[each] for each in SETTINGS[name]}
    defaults = {each.name: each.default for each in signature(command).parameters.values()}
    _check_others(
        name, {each: values[each] for each in defaults if each not in {*ALWAYS, *network, *settings}}, defaults
    )
    if values["out"] is None:
        raise UsageError("bulk work is written as it is done; give --out, a new folder or an address")
    pictures = values["pictures"] if isinstance(values["pictures"], list | tuple) else [values["pictures"]]
    if len(pictures) != 1:
        raise UsageError(f"bulk work takes one DATA, and {len(pictures)} came; give a folder, a table or a pattern")
    from regard.data.regions import regions_of
    from regard.data.shards import UNIT, open_source
    from regard.jobs.bulk.columns import columns_of
    from regard.networks.arguments import check_arguments
    from regard.predictors.method_options import parse_grid

    columns = tuple(column.name for column in columns_of(name, values["columns"]))
    masks = values.get("masks")
    if (masks is None) == ("reliance" in columns):
        raise UsageError("--masks say where the object is for --columns reliance; give both, or neither")
    if masks is not None:
        settings["masks"] = regions_of(masks, max_pixels=values["max_pixels"]).digest
    tta = values.get("tta")
    check_arguments(values["model"], network.get("weights"), network.get("weights_part"), network["precision"], tta)
    if tta is not None:
        if single := {"artifacts", "reliance"} & {*columns}:
            raise UsageError(f"--columns {min(single)} reads the picture as it is; leave --tta out, or that column")
        settings["tta"] = tta
    if network.get("grid") is not None:
        network["grid"] = parse_grid(network["grid"])
    unit = values["unit"] or UNIT
    source = open_source(pictures[0], image=values["image"], unit=unit, skip_bad=True)
    from regard.jobs.bulk.job import run_job  # torch is imported when nothing else is wrong
    from regard.jobs.bulk.work import Work

    work = Work(
        name,
        source,
        str(values["out"]),
        values["model"],
        network,
        settings,
        columns,
        values["batch_size"],
        values["threads"] or 0,
        values["max_pixels"],
        unit,
        values.get("workers", 2),
        None if masks is None else str(masks),
    )
    how = {"dry_run": values["dry_run"], "overwrite": values["overwrite"], "progress": progress}
    return run_job(work, values["jobs"] or "local", **how)


def is_bulk_result(place: Any) -> bool:
    """Whether DATA is what bulk work wrote: a folder with its manifest, or such in a store."""
    from regard.jobs.bulk.results import open_result

    if not isinstance(place, str | Path) or not ("://" in str(place) or is_file(Path(place) / "manifest.json")):
        return False
    try:
        return bool(open_result(place))
    except DataError:
        return False


def run_bulk_audit(command: Callable[..., Any], values: Mapping[str, Any]) -> "BulkAudit":
    """Audit what bulk work wrote; `values` are the arguments of `regard audit`, of which few are for it."""
    from regard.jobs.bulk.audit import audit_bulk

    defaults = {each.name: each.default for each in signature(command).parameters.values()}
    others = {name: value for name, value in values.items() if name not in ("data", "before", "out", "overwrite")}
    _check_others("audit", others, defaults)
    if values["out"] is not None:
        check_free(values["out"], values["overwrite"])
    record = audit_bulk(values["data"], values["before"])
    if values["out"] is not None:
        write_json(values["out"], record.as_json())
    return record


def _check_others(command: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    names = [name.replace("_", "-") for name, value in values.items() if value != defaults[name]]
    if names:
        raise UsageError(
            f"--{names[0]} is not for bulk work (see docs/bulk.md); leave it out, or call `regard {command}` on fewer "
            "pictures, without --jobs"
        )
