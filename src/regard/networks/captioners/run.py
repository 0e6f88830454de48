"""The run folder of a captioner: what `run.py` is to classifiers. It can be rebuilt from the folder alone, offline.

runs/NAME/model.safetensors   the weights to use
          vocabulary.txt      its pieces, one a line
          model.json          schema, task, architecture, preparation, hash; always written last
"""

from pathlib import Path
from typing import Any

import safetensors.torch

from regard.errors import NetworkError, OutputError, UsageError
from regard.files import SCHEMA, file_hash, write_file, write_json, writing
from regard.networks.captioners import CAPTIONER_FAMILIES, family_of
from regard.networks.captioners.trainable import TrainableCaptioner
from regard.networks.captioners.wordpiece import WordPiece
from regard.networks.captioners.written_words import WrittenWords
from regard.networks.run import (
    DESCRIPTION,
    WEIGHTS,
    check_digest,
    read_description,
    read_weights,
    reading_description,
    within,
)
from regard.networks.sources.fit import fit
from regard.networks.tasks import CAPTIONING

VOCABULARY = "vocabulary.txt"
_RULES: dict[str, type[WordPiece]] = {each.rules: each for each in (WordPiece, WrittenWords)}
"""Kinds of vocabularies by the name that `model.json` has for them; runs that name none have BERT's."""


def save_captioner(captioner: TrainableCaptioner, folder: Path | str, overwrite: bool = False) -> Path:
    """Write weights and vocabulary, then `model.json`, into a folder. Raises `OutputError` as `save_network` does."""
    folder = Path(folder)
    if not overwrite and any((folder / name).exists() for name in (WEIGHTS, DESCRIPTION)):
        raise OutputError(f"{folder} holds a network already; choose another folder, or --overwrite to replace it")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in captioner.module.state_dict().items()}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / WEIGHTS, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    write_file(folder / VOCABULARY, "\n".join(captioner.vocabulary.pieces) + "\n")
    write_json(folder / DESCRIPTION, _description(captioner, folder))
    return folder


def load_captioner_run(folder: Path | str, name: str | None = None) -> TrainableCaptioner:
    """The captioner of a run folder. Raises `NetworkError` when it is damaged, and `UsageError` for a classifier's."""
    folder = Path(folder)
    description = read_description(folder)
    if description.get("task") != CAPTIONING:
        raise UsageError(
            f"{folder} is a run of {description.get('task')}, which cannot caption; give a captioner's run"
        )
    vocabulary = _read_vocabulary(folder, str(description.get("vocabulary", WordPiece.rules)))
    check_digest(file_hash(folder / VOCABULARY), description.get("vocabulary_sha256"), folder / VOCABULARY)
    with reading_description(folder):
        architecture = dict(description["architecture"])
        family = family_of("run", architecture["kind"])
        if family is None:
            raise NetworkError(
                f"there is no captioner of kind {architecture['kind']!r}; it was written by a newer regard"
            )
        build = CAPTIONER_FAMILIES.load(family.name)
        tensors = read_weights(folder)
        with within(description, tensors, folder):
            captioner: TrainableCaptioner = build(
                architecture, description["preparation"], vocabulary, name or folder.name
            )
    captioner.folder = folder
    fit(captioner.module, tensors, folder / WEIGHTS)
    check_digest(captioner.weights_hash(), description.get("weights_sha256"), folder / WEIGHTS)
    return captioner


def _read_vocabulary(folder: Path, rules: str) -> WordPiece:
    if rules not in _RULES:
        raise NetworkError(
            f"{folder} has a vocabulary of kind {rules!r}, and this regard knows {' and '.join(_RULES)}; it was "
            "written by a newer one, so update regard"
        )
    return _RULES[rules].load(folder / VOCABULARY)


def _description(captioner: TrainableCaptioner, folder: Path) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "task": CAPTIONING,
        "architecture": captioner.description,
        "preparation": captioner.preparation.as_json(),
        "vocabulary": captioner.vocabulary.rules,
        "weights_sha256": captioner.weights_hash(),
        "vocabulary_sha256": file_hash(folder / VOCABULARY),
    }
