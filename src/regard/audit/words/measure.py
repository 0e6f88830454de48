"""What is measured of one caption: its words' checks and maps, and what they lose when a region is taken out.

A region is taken out by the patches that it covers a tenth of or more, through `CaptionNetwork.removed`. *Elsewhere*
are regions of its size and shape: the same patches, moved around the edges of the grid to where they cover least of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from regard.audit.words.claims import ClaimedWord, Region, claimed_words, noun_regions
from regard.audit.words.settings import WordAuditSettings
from regard.data.images.decode import open_picture
from regard.data.regions import PictureRegions, Regions
from regard.errors import DataError
from regard.explanation.words.alignment import read_words, word_spans
from regard.explanation.words.checks.run import checks_of, fitting_checks
from regard.explanation.words.dependence import per_word
from regard.explanation.words.finished import FinishedCaption
from regard.measurement.chance import generator_of_name
from regard.measurement.localisation.measures import Bools, Cover, cover
from regard.networks.captioners.base import CaptionNetwork, PreparedPicture
from regard.networks.guard import lock_of
from regard.predictors.captions.job import caption_tokens, text_read, unknown_words
from regard.predictors.captions.options import CAPTURED, CaptionInput, CaptionOptions
from regard.records import Float, Word

TOUCHED = 0.1
"""A patch is taken out with a region that covers at least this share of it."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CaptionPlan:
    """What is measured of which captions: `inputs`, in order, of pictures whose `regions` are known."""

    network: CaptionNetwork
    inputs: Sequence[CaptionInput]
    regions: Regions
    settings: WordAuditSettings
    options: CaptionOptions
    others: dict[str, PreparedPicture | None] = field(default_factory=dict, repr=False)

    def other(self, index: int) -> PreparedPicture | None:
        """The next picture that can be read, of all in a circle; None where there is no other."""
        for distance in range(1, len(self.inputs)):
            item = self.inputs[(index + distance) % len(self.inputs)]
            if item.picture.identity == self.inputs[index].picture.identity:
                continue
            if item.name not in self.others:  # that of one after another caption of the same picture is the same
                self.others.clear()
                self.others[item.name] = self._readable(item)
            if self.others[item.name] is not None:
                return self.others[item.name]
        return None

    def _readable(self, item: CaptionInput) -> PreparedPicture | None:
        try:
            return self.network.prepare(open_picture(item.picture.opener), self.options.prompt)
        except DataError:
            if self.settings.skip_bad:
                return None
            raise


@dataclass(frozen=True)
class ReadCaption:
    """A caption of the input at `index`, word by word, with its maps (words, rows, columns), and its passes."""

    plan: CaptionPlan
    index: int
    image: Image.Image
    finished: FinishedCaption
    words: tuple[Word, ...]
    maps: Float

    @classmethod
    def of(cls, plan: CaptionPlan, index: int) -> "ReadCaption":
        """Raises `DataError` for a picture that cannot be read."""
        network, options, item = plan.network, plan.options, plan.inputs[index]
        image = open_picture(item.picture.opener)
        with lock_of(network.module):
            picture = network.prepare(image, options.prompt)
            capture = options.capture(network)
            if item.caption is None:
                (decoding,) = network.generate([picture], limit=options.limit, capture=capture)
                pieces = network.pieces(decoding.tokens)
            else:
                tokens = caption_tokens(network, item, picture)
                (decoding,) = network.teacher_force([picture], [tokens], capture=capture)
                pieces = network.pieces_of(text_read(network, item.caption), decoding.tokens)
            spans = word_spans(decoding, pieces)
            words = tuple(
                word for word in read_words(decoding, pieces, picture.grid, item.name, options.row) if word.steps
            )
            finished = FinishedCaption(
                network, picture, decoding.tokens, spans, plan.other(index), None, options.prompt, capture, options.row
            )
            maps = [word.heatmap.values for word in words if word.heatmap is not None]
            if options.method != CAPTURED:
                of_tokens = options.method_maps(network, picture, decoding.tokens, options.row).numpy()
                maps = list(per_word(of_tokens, spans, np.mean))
        return cls(plan, index, image, finished, words, np.stack(maps).astype(np.float32))

    def claimed(self, picture: PictureRegions) -> tuple[ClaimedWord, ...]:
        """Its words, but those of a given caption that the network could not read: it read others in their place."""
        item = self.plan.inputs[self.index]
        text = None if item.caption is None else text_read(self.plan.network, item.caption)
        unknown = () if text is None else unknown_words(self.plan.network, text)
        return tuple(word for word in claimed_words(self.words, picture) if word.text not in unknown)

    def entry(self, picture: PictureRegions) -> tuple[dict[str, Any], bytes]:
        """What a line holds of it, as JSON, and the maps of its words."""
        item = self.plan.inputs[self.index]
        grid = self.finished.picture.grid
        claimed = self.claimed(picture)
        regions = {word.region for word in claimed if word.region}
        masks = {region: picture.mask(region, grid.picture) for region in sorted(regions)}
        covers = {region: cover(grid, mask) for region, mask in masks.items()}
        covers = {region: each for region, each in covers.items() if each.inside.any()}
        network = self.plan.network
        with lock_of(network.module):
            checks = checks_of(self.finished, fitting_checks(network, "quick"))
            falls = self._falls(covers)
        nouns = [region for region in noun_regions(claimed) if region in covers]
        animals = [_animal(region) for region in covers]
        for animal in filter(None, animals):
            whole = cover(grid, picture.mask(animal, grid.picture))
            if whole.inside.any():
                covers.setdefault(animal, whole)
        names = {region: number for number, region in enumerate(covers)}
        words = []
        for word in claimed:
            numbers = {name: float(values[word.place]) for name, values in checks.items()}
            if word.claim == "anywhere":
                numbers |= _largest(falls, nouns, word.place)
            elif word.region in falls:
                lost = falls[word.region]
                elsewhere_lost = lost[1:].mean(axis=0)
                numbers |= {"fall": float(lost[0, word.place]), "fall:elsewhere": float(elsewhere_lost[word.place])}
            about = {name: getattr(word, name) for name in ("place", "text", "kind", "claim", "right")}
            subject = _animal(word.region) if word.claim == "verbs" else None
            about |= {
                "ground": word.region == ("background",),
                "region": names.get(word.region),
                "animal": None if subject is None else names.get(subject),
            }
            words.append({**about, "numbers": {name: value for name, value in numbers.items() if np.isfinite(value)}})
        area = next(iter(covers.values())).area if covers else np.zeros((grid.rows, grid.columns))
        line = {
            "index": self.index,
            "unit": item.file,
            "picture": item.name,
            "grid": [grid.rows, grid.columns],
            "area": area.ravel().astype(int).tolist(),
            "inside": [each.inside.ravel().astype(int).tolist() for each in covers.values()],
            "nouns": [names[region] for region in nouns],
            "words": words,
            "maps": len(self.maps),
        }
        return line, self.maps.tobytes()

    def _falls(self, covers: Mapping[Region, Cover]) -> dict[Region, Floats]:
        """By region, (1 + elsewhere, words) in nats: what each word loses without it, and without others of its size.

        One that covers more than half of the patches has no other of its size.
        """
        settings = self.plan.settings
        sets = {}
        for region, each in covers.items():
            patches = touched(each)
            chance = generator_of_name(self.plan.inputs[self.index].name, settings.seed, f"elsewhere {region}")
            moved = elsewhere(patches, settings.elsewhere, chance)
            if moved is not None:
                sets[region] = np.stack([patches, *moved])
        if not sets:
            return {}
        finished = self.finished
        visible = torch.from_numpy(~np.concatenate(list(sets.values())))
        logs = self.plan.network.removed(finished.picture, self.image, finished.tokens, visible, finished.prompt)
        whole = finished.sums(finished.scores.log_probabilities)
        falls = np.stack([whole - finished.sums(each) for each in logs.double()])  # (passes, words)
        parts = np.split(falls, np.cumsum([len(each) for each in sets.values()])[:-1])
        return dict(zip(sets, parts, strict=True))


def touched(over: Cover) -> Bools:
    """(rows, columns): the patches that a region covers a tenth of or more; at least the one that it covers most."""
    share = np.divide(over.inside, over.area, out=np.zeros(over.area.shape), where=over.area > 0)
    return np.asarray(share >= min(TOUCHED, float(share.max())))


def elsewhere(patches: Bools, count: int, chance: np.random.Generator) -> list[Bools] | None:
    """The same patches moved around the edges of the grid (rows, columns) to `count` places, those where they cover the
    fewest of them; of equal ones by chance. None where they are more than half, as none is elsewhere then."""
    if not 0 < patches.sum() <= patches.size / 2:
        return None
    steps = [(down, across) for down in range(patches.shape[0]) for across in range(patches.shape[1])]
    moved = [np.roll(patches, step, (0, 1)) for step in steps]
    overlaps = np.array([(each & patches).sum() for each in moved])
    order = np.lexsort((chance.random(len(moved)), overlaps))
    return [moved[place] for place in order[:count]]


def entries(plan: CaptionPlan, start: int, on_bad: Any) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    """(index, line, maps) of each caption from the input `start` on; `on_bad` takes pictures that cannot be read."""
    for index in range(start, len(plan.inputs)):
        item = plan.inputs[index]
        picture = plan.regions.find(item.name)
        try:
            if picture is None:
                yield index, {"index": index, "unknown": True}, b""
            else:
                yield index, *ReadCaption.of(plan, index).entry(picture)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(item.picture, error)


def _largest(falls: Mapping[Region, Floats], regions: Iterable[Region], place: int) -> dict[str, float]:
    """What a word that speaks of no region loses most of any object, and of any region elsewhere, in the mean."""
    lost = [falls[region][:, place] for region in regions if region in falls]
    if not lost:
        return {}
    most = np.max(lost, axis=0)  # (1 + elsewhere,)
    return {"fall": float(most[0]), "fall:elsewhere": float(most[1:].mean())}


def _animal(region: Region) -> Region | None:
    """The whole of what a single part belongs to ("0.left wing" → "0"); None of what is whole itself."""
    return (region[0].split(".")[0],) if len(region) == 1 and "." in region[0] else None
