"""A captioner by name: a run, a public checkpoint or a file of CATR, a folder of Hugging Face's, or `hf:ID`."""

import logging
from pathlib import Path

import torch

from regard.errors import NetworkError, UsageError
from regard.files import check_local
from regard.networks.arguments import check_arguments
from regard.networks.captioners import CAPTIONER_FAMILIES, family_of
from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.families.catr import PUBLIC, CatrCaptioner, load_catr
from regard.networks.captioners.run import load_captioner_run
from regard.networks.guard import usable
from regard.networks.precision import best_precision
from regard.networks.run import task_of
from regard.networks.sources.huggingface_files import folder_of, is_huggingface, read_config
from regard.networks.sources.shipped import CAPTIONERS
from regard.networks.sources.shipped import folder_of as folder_of_shipped
from regard.networks.tasks import CAPTIONING

log = logging.getLogger("regard")


def load_caption_network(
    model: str | Path | CaptionNetwork, device: str | torch.device | None = None, precision: str = "float32"
) -> CaptionNetwork:
    """The captioner that `model` names: a run of `regard train --task caption`, a public CATR or its file, a Hugging
    Face folder, or `hf:ID`; or one that is loaded already, which stays where it is and as it is: of another
    `precision` a copy with the same module is given. Those of kinds that were not measured stay in float32 and say so.

    Raises `UsageError` for what cannot caption, with what can, and `NetworkError` for what cannot be loaded.
    """
    check_arguments(None, precision=precision)
    if isinstance(model, CaptionNetwork):
        if device is not None:
            raise UsageError("a captioner that is given stays on its own device; move its module, and leave device out")
        return model if precision == "float32" else _at_precision(model, precision)
    if isinstance(model, torch.nn.Module):
        raise UsageError(
            "a module alone has no vocabulary to caption with; give its run or folder, or a CaptionNetwork"
        )
    if not isinstance(model, str | Path):
        raise UsageError(f"a {type(model).__name__} cannot caption; {_advice()}, or a CaptionNetwork")
    captioner = _load(str(model))
    if device is not None:
        with usable(device):
            captioner.module.to(device)
    return _at_precision(captioner, precision)


def _at_precision(captioner: CaptionNetwork, precision: str) -> CaptionNetwork:
    """One that encodes in a precision where its captions were shown to hold in it (docs/benches.md), or it as it is."""
    best = best_precision(precision, captioner.device)
    if best != "float32" and not captioner.reducible:
        log.info(f"{captioner.name} captions in float32: its captions are not known to hold in {best}")
        return captioner
    return captioner.at_precision(best)


def _load(model: str) -> CaptionNetwork:
    path = Path(model)
    run = folder_of_shipped(model)
    if task_of(run) == CAPTIONING:
        return load_captioner_run(run, path.name)
    if model in PUBLIC or path.is_file():
        return CatrCaptioner(*load_catr(model), name=model if model in PUBLIC else path.stem)
    if is_huggingface(model):
        return _load_huggingface(model, folder_of(model))
    if path.suffix in (".pth", ".pt", ".bin", ".safetensors"):
        check_local(model, NetworkError)
        raise NetworkError(f"no checkpoint at {model}: there is no such file; check the path")
    raise UsageError(f"{model} is no network that can caption; {_advice()}")


def _load_huggingface(model: str, folder: Path) -> CaptionNetwork:
    config = read_config(folder, f"the configuration of {model} cannot be loaded")
    family = family_of("huggingface", config.model_type)
    if family is None:
        raise UsageError(f"{model} is of the kind {config.model_type!r}, which cannot caption; {_advice()}")
    captioner: CaptionNetwork = CAPTIONER_FAMILIES.load(family.name)(folder, model, config)
    return captioner


def _advice() -> str:
    kinds = [kind for family in CAPTIONER_FAMILIES if family.source == "huggingface" for kind in family.kinds]
    return (
        f"give {', '.join((*CAPTIONERS, *PUBLIC))}, a run that learnt captions (`regard train DATA --task caption "
        "--out RUN`), a CATR checkpoint, or "
        f"hf:ID or a folder of one of {', '.join(kinds)}"
    )
