"""Networks that describe pictures: a face for all of them, a file for each family, and the ones that regard trains.

base.py       CaptionNetwork: a picture is prepared, described word by word, or made to bear a given caption
load.py       a captioner by name          run.py   the run folder of one that was trained
families/     a file for each kind of network, and a row each in CAPTIONER_FAMILIES
pretrained.py, trainable.py                what captioners of transformers, and those of regard's own, share
decoding.py   greedy, beam search and teacher forcing of regard's own modules (transformer.py)
pieces.py, wordpiece.py                    vocabularies
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regard.errors import NetworkError
from regard.networks.run import is_run, task_of
from regard.networks.sources.shipped import folder_of
from regard.networks.tasks import CAPTIONING
from regard.registry import Described, Table


@dataclass(frozen=True, repr=False)
class CaptionerFamily(Described):
    """A row of CAPTIONER_FAMILIES: a kind of network that can caption, as data alone.

    `kinds` is how it is recognised: with `source` "huggingface" by the `model_type` of a folder's configuration, with
    "run" by the kind of architecture that a run folder names. `target` makes the captioner, a `CaptionNetwork`:
    `target(folder, model, config)` of Hugging Face's, where `model` is what the user wrote, and
    `target(architecture, preparation, vocabulary, name)` of a run's, whose weights are read into it afterwards.
    """

    name: str
    description: str
    source: str  # "huggingface" or "run"
    kinds: tuple[str, ...]
    target: str  # "module:function"


CHECKPOINTS = (".pth", ".pt", ".bin")
"""The endings of files that may be CATR's."""
_FOLDER = "regard.networks.captioners.families"

CAPTIONER_FAMILIES = Table(
    "captioner",
    (
        CaptionerFamily(
            name="catr",
            description="CATR: a ResNet-101, a transformer's encoder and its decoder",
            source="run",
            kinds=("catr",),
            target=f"{_FOLDER}.catr:build_captioner",
        ),
        CaptionerFamily(
            name="encoder-decoder",
            description="an encoder of timm's and a decoder, as `regard train DATA --task caption --out RUN` makes it",
            source="run",
            kinds=("describer",),
            target=f"{_FOLDER}.encoder_decoder:build_captioner",
        ),
        CaptionerFamily(
            name="vision-encoder-decoder",
            description="ViT-GPT2, TrOCR and others whose encoder has a grid of patches",
            source="huggingface",
            kinds=("vision-encoder-decoder",),
            target=f"{_FOLDER}.cross_attention:VisionEncoderDecoder",
        ),
        CaptionerFamily(
            name="blip",
            description="BLIP: a ViT and a BERT that writes",
            source="huggingface",
            kinds=("blip",),
            target=f"{_FOLDER}.cross_attention:Blip",
        ),
        CaptionerFamily(
            name="idefics",
            description="Idefics3 and SmolVLM: tiles of the picture among the tokens of a language model",
            source="huggingface",
            kinds=("idefics3", "smolvlm"),
            target=f"{_FOLDER}.language_model:Idefics",
        ),
        CaptionerFamily(
            name="qwen-vl",
            description="Qwen2-VL, Qwen2.5-VL and Qwen3-VL: a grid of any shape among the tokens of a language model",
            source="huggingface",
            kinds=("qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
            target=f"{_FOLDER}.language_model:Qwen",
        ),
        CaptionerFamily(
            name="blip-2",
            description="BLIP-2: query tokens look at the picture, and OPT or Flan-T5 reads them",
            source="huggingface",
            kinds=("blip-2",),
            target=f"{_FOLDER}.blip2:blip2",
        ),
        CaptionerFamily(
            name="git",
            description="GIT: the patches of a CLIP before the words",
            source="huggingface",
            kinds=("git",),
            target=f"{_FOLDER}.prefix:Git",
        ),
        CaptionerFamily(
            name="paligemma",
            description="PaliGemma 1 and 2: the patches of a SigLIP before a prompt",
            source="huggingface",
            kinds=("paligemma",),
            target=f"{_FOLDER}.prefix:PaliGemma",
        ),
        CaptionerFamily(
            name="florence2",
            description="Florence-2: patches of a DaViT and a prompt, encoded together",
            source="huggingface",
            kinds=("florence2",),
            target=f"{_FOLDER}.joint_encoder:Florence2",
        ),
        CaptionerFamily(
            name="llava",
            description="LLaVA: the patches of a CLIP among the tokens of a language model",
            source="huggingface",
            kinds=("llava",),
            target=f"{_FOLDER}.llava:Llava",
        ),
        CaptionerFamily(
            name="llava-next",
            description="LLaVA-NeXT: patches of the picture and of its tiles among the tokens of a language model",
            source="huggingface",
            kinds=("llava_next",),
            target=f"{_FOLDER}.llava:LlavaNext",
        ),
    ),
    group="regard.captioners",
)

register_captioner = CAPTIONER_FAMILIES.register


def family_of(source: str, kind: str) -> CaptionerFamily | None:
    """The family that networks of a kind belong to, by where the kind is named; None where no row has it."""
    return next((row for row in CAPTIONER_FAMILIES if row.source == source and kind in row.kinds), None)


def is_captioner(model: Any) -> bool:
    """Whether a name, a path or a loaded network describes pictures, in the order in which `load` reads names.

    What is nobody's network is none: loading it says so. Raises `NetworkError` where a hub must be asked and cannot.
    """
    if not isinstance(model, str | Path):
        return hasattr(model, "teacher_force")
    run = folder_of(model)
    if is_run(run):
        return task_of(run) == CAPTIONING
    name = str(model)
    if Path(name).is_file():
        return Path(name).suffix in CHECKPOINTS and _is_catr(Path(name))
    if name.startswith("catr-"):
        from regard.networks.captioners.families.catr import PUBLIC  # late, as is all below: it imports torch

        return name in PUBLIC
    return _is_huggingface(name)


def _is_catr(path: Path) -> bool:
    from regard.networks.captioners.families.catr import is_catr_file

    try:
        return is_catr_file(path)
    except NetworkError:  # a file that cannot be read is refused by whoever loads it
        return False


def _is_huggingface(model: str) -> bool:
    if not model.startswith("hf:") and not (Path(model) / "config.json").is_file():
        return False
    from regard.networks.sources import huggingface_files

    folder = huggingface_files.folder_of(model)
    if not (folder / "config.json").is_file():
        return False
    try:
        kind = huggingface_files.read_config(folder, f"the configuration of {model} cannot be loaded").model_type
    except NetworkError:
        return False
    return family_of("huggingface", str(kind)) is not None
