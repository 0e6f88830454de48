"""What `regard audit` of a captioner is asked for: the command's arguments, checked before any work, and the audit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.data.layouts import read
from regard.data.regions import regions_of
from regard.errors import UsageError
from regard.explanation import METHODS
from regard.files import check_free
from regard.measurement.selection import scored_part
from regard.predictors.captions.options import CAPTURED, CaptionInput
from regard.predictors.command_inputs import check_data
from regard.progress import Progress

if TYPE_CHECKING:
    from regard.records import WordAudit

ALL = "all"


def audit_captioner(
    values: Mapping[str, Any], finish: Callable[[Path, "WordAudit"], None], progress: Progress
) -> "WordAudit":
    """The audit of a captioner, `values` being the arguments of `regard audit`; `finish` writes what is for people.

    Raises `UsageError` for arguments that do not go together, and `DataError` for DATA that know no regions of words,
    and for captions that do not belong to it.
    """
    data, out, captions = values["data"], values["out"], values["captions"]
    check_data(data, "audit")
    named = [name.strip() for each in values["methods"] or () for name in each.split(",") if name.strip()]
    if len(named) > 1:
        words = ", ".join(row.name for row in METHODS if row.kind == "word")
        raise UsageError(f"an audit of words is of one method, and {len(named)} came; give one of {words}")
    if captions is None and values["which"] != ALL:
        raise UsageError(f"--which {values['which']} is of captions that are given; give --captions FILE with it")
    source = None if captions is None else {"captions": Path(captions).name, "which": str(values["which"])}
    from regard.audit.words.settings import WordAuditSettings

    settings = WordAuditSettings(
        named[0] if named else CAPTURED,
        captions=source,
        **{name: values[name] for name in ("layer", "head", "seed", "batch_size", "skip_bad")},
    )
    _ = settings.options  # refused at once, if at all
    if out is not None:
        check_free(Path(out), values["overwrite"])
    regions = regions_of(data, words=True)
    dataset = read(data, labels=False, image=values["image"]).up_to(values["max_pixels"]).check(values["split"], None)
    part, note = scored_part(dataset, values["model"], values["split"], values["keep_seen"])
    inputs = [CaptionInput(picture) for picture in part.pictures]
    if captions is not None:
        from regard.data.layouts.captions import captions_for

        inputs = [CaptionInput(*row) for row in captions_for(part, captions, values["which"], values["skip_bad"])]
    # torch is imported when nothing else is wrong
    from regard.audit.words.audit import WordAuditOutput, audit_words
    from regard.networks.captioners.load import load_caption_network
    from regard.networks.run import run_of

    network = load_caption_network(values["model"], values["device"])
    into_run = isinstance(values["model"], str | Path) and run_of(values["model"]) == Path(values["model"])
    output = WordAuditOutput(
        None if out is None else Path(out), Path(values["model"]) if into_run else None, values["overwrite"], finish
    )
    notes = ["seen in training"] * bool(note) + ["captions given"] * (captions is not None)
    return audit_words(network, inputs, regions, settings, note=", ".join(notes), output=output, progress=progress)
