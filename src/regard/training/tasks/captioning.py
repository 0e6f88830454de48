"""A captioner trained on pictures with captions: one phase, in the same loop and with the same exact resume.

Each epoch shows every picture once, with one of its captions; a mirrored picture has left and right exchanged in it.
The pictures set aside are scored by what the network would say next at each step of their first caption.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regard.data.dataset import Dataset, listed
from regard.data.images.augment import Augmentation
from regard.data.layouts.captions import captions_of, mirrored
from regard.errors import DataError, UsageError
from regard.networks.captioners.trainable import TrainableCaptioner
from regard.networks.captioners.wordpiece import PAD, START, STOP, UNKNOWN, WordPiece, split_words
from regard.networks.guard import borrowed
from regard.training.loader import Feed, check_processes
from regard.training.loop import Session
from regard.training.objectives import Captions
from regard.training.optimise import best_precision, dropping, opened
from regard.training.phases import feed_of, train_on
from regard.training.processes import World, join
from regard.training.recipe import CaptionSettings, Recipe
from regard.training.running import How, running

MOVES = ("rotate", "translate", "zoom")


@dataclass(frozen=True)
class Outcome:
    """What came of it: the lines of metrics, what the user should know, and facts for the report.

    `selected`: whether the pictures set aside had a say in which weights are used. `main`: whether this process is
    the one that writes.
    """

    metrics: tuple[dict[str, Any], ...]
    messages: tuple[str, ...]
    facts: dict[str, Any]
    selected: bool
    main: bool


def vocabulary_of(training: Dataset, settings: CaptionSettings) -> WordPiece:
    """BERT's pieces, or the words of the training captions and of what their mirror images are called.

    A word that occurs fewer than `settings.least` times is the unknown one. The commonest come first.
    """
    if settings.vocabulary == "bert":
        return WordPiece.load()
    said = [text for picture in training.pictures for text in captions_of(picture)]
    counts = Counter(word for text in said for word in split_words(text))
    both = Counter(counts)
    for word, count in counts.items():
        if mirrored(word) != word:
            both[mirrored(word)] += count
    kept = sorted(
        (word for word, count in both.items() if count >= settings.least), key=lambda word: (-both[word], word)
    )
    if not kept:
        raise DataError(f"no word occurs {settings.least} times in the captions; give a lower --least")
    pieces = (PAD, UNKNOWN, START, STOP, *(word for word in kept if word not in (PAD, UNKNOWN, START, STOP)))
    return WordPiece(pieces, {piece: token for token, piece in enumerate(pieces)})


def run(
    captioner: TrainableCaptioner,
    training: Dataset,
    validation: Dataset,
    hashes: Mapping[str, str],
    recipe: Recipe,
    folder: Path | str,
    **how: Any,
) -> Outcome:
    """Train `captioner`, in place, as `recipe.settings` say; the run's folder holds all that is needed to resume.

    `hashes` are the pictures' SHA-256 by name; `how` are fields of `running.How`. The folder is left without its
    network: `save_captioner`, then `folder.finish`, make it a finished run. Raises as `finetune.run` does.
    """
    settings = recipe.settings
    if not isinstance(settings, CaptionSettings):
        raise DataError(f"the recipe {recipe.name!r} does not train a captioner; give caption")
    world = join(captioner.device)
    captioner.module.to(world.device)
    learned = _lessons(captioner, training, settings, How(**how).seed)
    judged = _lessons(captioner, validation, replace(settings, smoothing=0.0), 0, choose=False)
    _check(captioner, training, validation, settings, world)
    precision = best_precision(settings.precision, world.device)
    facts = {"precision": precision, "captions": _digest(training, validation)}
    parts = training, validation
    with running(captioner, parts, hashes, recipe, Path(folder), world, facts, How(**how)) as session:
        return _phases(captioner, training, validation, (learned, judged), settings, session, precision)


def _phases(
    captioner: TrainableCaptioner,
    training: Dataset,
    validation: Dataset,
    lessons: tuple[Captions, Captions],
    settings: CaptionSettings,
    session: Session,
    precision: str,
) -> Outcome:
    keeper, journal = session.keeper, session.journal
    still = replace(settings, accumulate=1)
    scored = replace(
        feed_of(validation, lessons[1], captioner.preparation, still, session), augmentation=Augmentation()
    )
    if "train" not in keeper.done:
        feed = feed_of(training, lessons[0], captioner.preparation, settings, session)
        with opened(captioner, settings.open_layers):
            at = train_on(
                captioner,
                "train",
                settings,
                feed,
                session,
                precision,
                lambda: score(captioner, scored, session, precision),
            )
        result = {"epochs": at.epoch, "best": at.best, "best_epoch": at.best_epoch}
        weights = {f"result/{name}": value.detach().cpu() for name, value in captioner.module.state_dict().items()}
        keeper.finish("train", result, weights)
        keeper.save(journal.rows)
    kept = {name.removeprefix("result/"): value for name, value in keeper.kept.items() if name.startswith("result/")}
    captioner.module.load_state_dict(kept)
    if journal.rows[-1].get("phase") != "result":
        journal.row(phase="result", **score(captioner, scored, session, precision))
    facts = {"precision": precision, "vocabulary": len(captioner.vocabulary), **keeper.done["train"]}
    selected = settings.keep == "best" or settings.patience > 0
    return Outcome(tuple(journal.rows), tuple(journal.messages), facts, selected, session.world.main)


def score(captioner: TrainableCaptioner, feed: Feed, session: Session, precision: str) -> dict[str, float]:
    """Mean log-loss of a token in nats, and how often the likeliest is the one that follows, over all processes."""
    device, sums = session.world.device, torch.zeros(3, dtype=torch.float64)
    with borrowed(captioner.module), torch.no_grad(), closing(feed.steps(1)) as steps:
        for step in steps:
            for batch in step.batches:
                targets, counts = batch.targets.to(device), batch.counts.to(device)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                    logits = feed.lessons.predict(captioner.module, feed.inputs(batch, device), targets)
                losses, right = feed.lessons.judge(logits, targets)
                known = (targets >= 0).sum(1) * counts
                sums += torch.stack([(losses * counts).sum(), (right * counts).sum(), known.sum()]).cpu().double()
    together = session.world.total(sums.to(device)) if session.world.size > 1 else sums  # some devices lack float64
    loss, right, tokens = together.tolist()
    return {"validation_loss": loss / tokens, "validation_top1": right / tokens}


def _lessons(
    captioner: TrainableCaptioner, part: Dataset, settings: CaptionSettings, seed: int, choose: bool = True
) -> Captions:
    """Every caption of every picture as tokens, and that of its mirror image. Raises `DataError` for one too long."""
    tokens: dict[str, list[int]] = {}

    def encoded(text: str) -> list[int]:
        if text not in tokens:
            tokens[text] = captioner.tokenize(text)
        return tokens[text]

    captions, longest = [], captioner.module.limit
    for picture in part.pictures:
        pairs = [(encoded(text), encoded(mirrored(text))) for text in captions_of(picture)]
        long = [text for text, pair in zip(captions_of(picture), pairs, strict=True) if max(map(len, pair)) > longest]
        if long:
            raise DataError(
                f"{picture.name} has a caption of {len(encoded(long[0]))} tokens, the end among them, and the network "
                f"says at most {longest}: {long[0][:60]!r}; shorten it, or give a new network a higher --longest"
            )
        captions.append(pairs)
    module = captioner.module
    return Captions(captions, module.start, module.vocabulary, seed, settings.smoothing, choose)


def _check(
    captioner: TrainableCaptioner, training: Dataset, validation: Dataset, settings: CaptionSettings, world: World
) -> None:
    """Everything that can be known to be wrong before any work."""
    for part, what in ((training, "train on"), (validation, "score on")):
        if not len(part):
            raise DataError(f"there are no pictures to {what}; mark some, or leave the split to regard")
    moving = [name for name in MOVES if getattr(settings, name)]
    if captioner.anatomy.patch is None and (settings.crop < 1 or moving):
        raise UsageError(
            f"{captioner.name} sees pictures whole; leave out {listed(['crop', *moving])} (flip and colours can change)"
        )
    check_processes(world, settings.batch_size, min(len(training), len(validation)))
    with opened(captioner, settings.open_layers), dropping(captioner, settings):
        pass


def _digest(*parts: Dataset) -> str:
    """A hash of all captions, by picture: a run goes on with the same ones only."""
    said = [[picture.name, *captions_of(picture)] for part in parts for picture in part.pictures]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]
