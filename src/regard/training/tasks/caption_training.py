"""A captioner trained on pictures with captions: one phase, in the same loop and with the same exact resume.

Each epoch shows every picture once, with one of its captions; a mirrored picture has left and right exchanged in it.
The pictures set aside are scored by the token that the network finds likeliest at each step of their first caption.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.data.dataset import Dataset, listed
from regard.data.images.augment import Augmentation
from regard.data.layouts.captions import captions_of, mirrored
from regard.errors import DataError, UsageError
from regard.measurement.captions.captioned import tokens
from regard.networks.captioners.trainable import TrainableCaptioner
from regard.networks.captioners.wordpiece import WordPiece
from regard.networks.captioners.written_words import WrittenWords, written_pieces
from regard.networks.guard import borrowed
from regard.networks.precision import best_precision
from regard.training.checkpoint import tensors_under
from regard.training.layers.recompute import recomputed
from regard.training.loader import Loader, check_processes
from regard.training.loop import check_choice, fit, loader_of
from regard.training.objectives import CaptionObjective
from regard.training.optimise import dropout, trainable_layers
from regard.training.processes import World, join
from regard.training.recipe import Recipe
from regard.training.session import Options, Session, training_session
from regard.training.tasks.base import Outcome, Parts
from regard.training.tasks.table import CaptionSettings

MOVES = ("rotate", "translate", "zoom")
LOST = 0.01
"""The share of words that a vocabulary may be unable to write before that is said."""

log = logging.getLogger("regard")


def vocabulary_of(training: Dataset, settings: CaptionSettings) -> WordPiece:
    """BERT's pieces, or the words of the training captions and of what their mirror images are called.

    Words are as they are written. One that occurs fewer than `settings.least` times is the unknown one, unless it is
    there in another case. The commonest come first.
    """
    texts = [text for picture in training.pictures for text in captions_of(picture)]
    if settings.vocabulary == "bert":
        vocabulary = WordPiece.load()
        _report_lost_letters(vocabulary, texts)
        return vocabulary
    counts = Counter(piece for text in texts for piece in written_pieces(text))
    if settings.flip and all(mirrored(piece) == piece for piece in counts):
        log.info(
            f"pictures are mirrored (--flip {settings.flip:g}), and no caption says left or right in English, which "
            "would be exchanged; where captions say it in another language, give --flip 0"
        )
    both = Counter(counts)
    for piece, count in counts.items():
        if mirrored(piece) != piece:
            both[mirrored(piece)] += count
    if max(both.values(), default=0) < settings.least:
        raise DataError(f"no word occurs {settings.least} times in the captions; give a lower --least")
    return WrittenWords.of(both, settings.least)


def _report_lost_letters(vocabulary: WordPiece, texts: Sequence[str]) -> None:
    """Log how many words a vocabulary cannot write back but for their case: accents and vowel signs cut, or unknown."""

    def letters(text: str) -> str:
        return "".join(tokens(text)).replace("-", "")

    words = Counter(word for text in texts for word in text.split())
    lost = [word for word in words if letters(vocabulary.text(vocabulary.encode(word))) != letters(word)]
    share = sum(words[word] for word in lost) / max(1, words.total())
    if share > LOST:
        log.info(
            f"bert's pieces cannot write {share:.0%} of the words of the captions as they are (accents and signs are "
            f"cut), such as {max(lost, key=words.__getitem__)!r}, and scores compare them as they are; --vocabulary "
            "own keeps the letters"
        )


def run(
    captioner: TrainableCaptioner,
    training: Dataset,
    validation: Dataset,
    hashes: Mapping[str, str],
    recipe: Recipe,
    folder: Path | str,
    **options: Any,
) -> Outcome:
    """Train `captioner`, in place, as `recipe.settings` say; the run's folder holds all that is needed to resume.

    `hashes` are the pictures' SHA-256 by name; `options` are fields of `session.Options`. The folder is left without
    its network: `save_captioner`, then `folder.finish`, make it a finished run. Raises as `finetune.run` does.
    """
    settings = recipe.settings
    if not isinstance(settings, CaptionSettings):
        raise DataError(f"the recipe {recipe.name!r} does not train a captioner; give caption")
    world = join(captioner.device)
    captioner.module.to(world.device)
    parts = (training, validation)
    captions = [[picture.name, *captions_of(picture)] for part in parts for picture in part.pictures]
    (training, lost), (validation, lost_to_score) = (fitting(captioner, part, settings.overlong) for part in parts)
    objective = objective_of(captioner, training, settings, Options(**options).seed)
    validation_objective = objective_of(captioner, validation, replace(settings, smoothing=0.0), 0, choose=False)
    _check(captioner, training, validation, settings, world)
    precision = best_precision(settings.precision, world.device)
    digest = hashlib.sha256(json.dumps(captions).encode()).hexdigest()[:16]  # resumed with the same captions only
    facts = {"precision": precision, "captions": digest}
    if captioner.vocabulary.rules != WordPiece.rules:  # earlier versions wrote none, and had BERT's
        facts["vocabulary rules"] = captioner.vocabulary.rules
    sides = (training, parts[1])  # a picture set aside that has no caption short enough is scored all the same
    with training_session(captioner, sides, hashes, recipe, Path(folder), world, facts, Options(**options)) as session:
        checkpoints = session.checkpoints
        journal = session.journal
        for message in filter(None, (lost, lost_to_score)):
            log.info(message)
            journal.message(message)
        validate = None
        if len(validation):
            still = replace(settings, accumulate=1)
            scored = loader_of(validation, validation_objective, captioner.preparation, still, session)
            scored = replace(scored, augmentation=Augmentation())  # as they are: no flip, no changes
            validate = partial(score, captioner, scored, session, precision)
        if "train" not in checkpoints.results:
            loader = loader_of(training, objective, captioner.preparation, settings, session)
            with trainable_layers(captioner, settings.open_layers):
                position = fit(captioner, "train", settings, loader, session, precision, validate)
            result = {"epochs": position.epoch, "best": position.best, "best_epoch": position.best_epoch}
            weights = {f"result/{name}": value.detach().cpu() for name, value in captioner.module.state_dict().items()}
            checkpoints.finish("train", result, weights)
            checkpoints.save(journal.rows)
        captioner.module.load_state_dict(tensors_under("result/", checkpoints.tensors))
        if validate is not None and journal.rows[-1].get("phase") != "result":
            journal.row(phase="result", **validate())
        chosen = {"precision": precision, "vocabulary": len(captioner.vocabulary), **checkpoints.results["train"]}
        selected = settings.keep == "best" or settings.patience > 0
        took_part = Parts(*sides, hashes) if lost else None
        return Outcome(tuple(journal.rows), tuple(journal.messages), chosen, selected, world.main, parts=took_part)


def score(captioner: TrainableCaptioner, loader: Loader, session: Session, precision: str) -> dict[str, float]:
    """Mean log-loss of a token in nats, and how often the likeliest is the one that follows, over all processes."""
    device = session.world.device
    objective = loader.objective
    rows: dict[tuple[int, int], Tensor] = {}  # by step and rank: loss, right answers, tokens
    with borrowed(captioner.module), torch.no_grad(), closing(loader.steps(1)) as steps:
        for step in steps:
            for batch, (rank, _) in zip(step.batches, step.shares, strict=True):
                targets = batch.targets.to(device)  # (pictures, tokens)
                counts = batch.counts.to(device)  # (pictures,)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                    logits = objective.logits(captioner.module, loader.inputs(batch, device), targets)
                losses, right = objective.losses(logits, targets)
                tokens = (targets >= 0).sum(1) * counts
                sums = torch.stack([(losses * counts).sum(), (right * counts).sum(), tokens.sum()])
                rows[step.number, rank] = sums.cpu().double()
    if session.ranks is None:
        total = sum(rows.values(), torch.zeros(3, dtype=torch.float64))
        total = session.world.total(total.to(device)) if session.world.size > 1 else total  # some devices lack float64
    else:  # each sum in its place, and then all of them in one order
        table = torch.zeros(loader.per_epoch, session.ranks.count, 3)
        for place, values in rows.items():
            table[place] = values.float()
        total = session.world.total(table.to(device)).cpu().double().sum((0, 1))
    loss, right_tokens, all_tokens = total.tolist()
    return {"validation_loss": loss / all_tokens, "validation_top1": right_tokens / all_tokens}


def objective_of(
    captioner: TrainableCaptioner, part: Dataset, settings: CaptionSettings, seed: int, choose: bool = True
) -> CaptionObjective:
    """Every caption of every picture as tokens, and that of its mirror image; what is too long is cut."""

    @cache
    def encoded(text: str) -> list[int]:
        tokens = captioner.tokenize(text)
        return tokens if len(tokens) <= module.limit else [*tokens[: module.limit - 1], module.stop]

    module = captioner.module
    captions = [
        [(encoded(text), encoded(mirrored(text))) for text in captions_of(picture)] for picture in part.pictures
    ]
    return CaptionObjective(captions, module.start, module.vocabulary, seed, settings.smoothing, choose)


def fitting(captioner: TrainableCaptioner, part: Dataset, overlong: str) -> tuple[Dataset, str]:
    """The pictures with those captions that the network can learn, and what there is to say: captions that are too
    long are left out or cut, as `overlong` has it, and pictures of which none is left are left out too.

    Raises `DataError` for the first that is too long where that is to be refused, and where nothing is left.
    """
    limit = captioner.module.limit
    pictures = []
    long: list[tuple[str, str, int]] = []  # picture, caption, tokens
    for picture in part.pictures:
        texts = []
        for text in captions_of(picture):
            count = max(len(captioner.tokenize(each)) for each in {text, mirrored(text)})
            if count > limit:
                long.append((picture.name, text, count))
            if count <= limit or overlong == "cut":
                texts.append(text)
        if texts:
            pictures.append(replace(picture, annotations=tuple({"caption": text} for text in texts)))
    if not long:
        return part, ""
    name, text, count = long[0]
    example = f"{name} has a caption of {count} tokens, the end among them, and the network says at most {limit}"
    advice = "shorten it, or give a new network a higher --longest"
    if overlong == "refuse" or not pictures:
        raise DataError(f"{example}: {text[:60]!r}; {advice}, or --overlong {'leave-out or ' if pictures else ''}cut")
    several = f"{len(long)} caption{'s are' if len(long) > 1 else ' is'} too long"
    gone = len(part) - len(pictures)
    whole = f", with {gone} picture{'s' if gone > 1 else ''} that {'have' if gone > 1 else 'has'} no other" * bool(gone)
    done = "cut" if overlong == "cut" else f"left out{whole}"
    names = listed(list(dict.fromkeys(name for name, _, _ in long)))
    return replace(part, pictures=tuple(pictures)), f"{several} and {done} ({names}): {example}; {advice}"


def _check(
    captioner: TrainableCaptioner, training: Dataset, validation: Dataset, settings: CaptionSettings, world: World
) -> None:
    """Everything that can be known to be wrong before any work."""
    if not len(training):
        raise DataError("there are no pictures to train on; mark some, or leave the split to regard")
    check_choice(settings, len(validation))
    moving = [name for name in MOVES if getattr(settings, name)]
    if captioner.anatomy.patch is None and (settings.crop < 1 or moving):
        raise UsageError(
            f"{captioner.name} sees pictures whole; leave out {listed(['crop', *moving])} (flip and colours can change)"
        )
    check_processes(world, settings.batch_size, min(len(part) for part in (training, validation) if len(part)))
    with (
        trainable_layers(captioner, settings.open_layers),
        dropout(captioner, settings),
        recomputed(captioner, settings),
    ):
        pass
