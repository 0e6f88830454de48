"""`regard.Inspector`: a network that is loaded once and gives all that the viewer shows of a picture."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from regard.data.dataset import Picture
from regard.errors import NetworkError
from regard.explanation import DEFAULT_METHODS
from regard.explanation.artifacts import find_repair, repaired
from regard.networks.cells import cells
from regard.networks.guard import lock_of
from regard.networks.network import Network
from regard.predictors.inputs import PictureLike, input_batches, pictures_of
from regard.predictors.inspector.jpeg import LONGEST, jpeg_of
from regard.predictors.inspector.maps import FindVerdict, MapMaker, MapSet, Subject, methods_of
from regard.predictors.inspector.reading import Reading, class_names, read
from regard.predictors.method_options import class_index
from regard.predictors.predictor import Predictor
from regard.records import Inspection
from regard.records.inspection import Answer
from regard.records.quantised import Quantised

BEST = 5
"""Classes that an answer names."""
SEARCHED = 16
"""Pictures in which the neurons that make artifact tokens are looked for."""

OnStage = Callable[[str, int, int], None]
"""Called before each stage with its name, its number from 0 and how many there are; what it raises ends the work."""


class Inspector(Predictor):
    """Everything that the viewer shows of a picture: attention of all layers and heads, what patches look at and would
    be read as, artifact tokens, maps of several methods with their removal curves, beside maps that look at nothing.

    It takes what `Explainer` takes. Networks without attention, and encoders without classes, give what they have; the
    rest stands in `absent` with its reason.

    >>> from regard import Inspector
    >>> from regard.scenes import render, sample
    >>> inspector = Inspector("pets-tiny", device="cpu")
    >>> inspection = inspector(render(sample(3)).picture, methods=["attention", "gradcam"], curve=False)
    >>> inspection.values("cls").shape  # layers, heads, rows and columns of patches
    (12, 3, 14, 14)
    >>> [entry.method for entry in inspection.maps if entry.target is None]
    ['attention', 'random', 'centre', 'edges']
    """

    _repair: tuple[Network, Network | None, str] | None = None  # of which network, repaired, why not

    def __call__(
        self,
        picture: PictureLike,
        methods: Sequence[str] = DEFAULT_METHODS,
        *,
        curve: bool = True,
        classes: int = 3,
        target: str | int | None = None,
        true: str | None = None,
        seen: bool = False,
        flips: bool | None = None,
        keys: bool = True,
        repair: bool = True,
        longest: int = LONGEST,
        prepared: bool = False,
        verdicts: FindVerdict | None = None,
        on_stage: OnStage = lambda stage, number, total: None,
        seed: int = 0,
    ) -> Inspection:
        """All of one picture; see `Explainer` for what a picture may be.

        Maps by `methods` are of the predicted class, the `true` one and the runner-up, the first `classes` of these,
        and of the first two against each other; with `target` of that class before them. Planted maps stand behind.
        With `curve` each has its removal curves, at about 10 forwards a map. `keys` are the strongest keys of each
        patch; with `repair` a network that makes artifact tokens also shows its attention without them (it is
        searched once for the neurons that make them, in the first picture that has some, or in those of
        `find_repair`). The picture is drawn at `longest` pixels, by default of 1024; 0 leaves it out. `verdicts`
        finds an audit's verdict on a method.

        Before each stage `on_stage` is called; an exception that it raises ends the work, and leaves the network as it
        was. Raises `UsageError` for a method or class that there is not and `DataError` for a picture that cannot be
        one.
        """
        names = methods_of(methods)
        stages = ("picture", "reading", *(["repair"] if repair else []), *names, *(["curves"] if curve else []))
        numbers = {stage: number for number, stage in enumerate(stages)}

        def begin(stage: str) -> None:
            on_stage(stage, numbers[stage], len(stages))

        begin("picture")
        (row,) = pictures_of(picture, self.network, prepared)
        subject = self._subject(row)
        jpeg = jpeg_of(row, longest) if longest else None
        begin("reading")
        network = replace(self.network, precision="float32")
        reading = read(network, subject.pixels, subject.grid, keys)
        labels = class_names(network, reading.logits)
        answer, ranked = self._answer(reading, labels, true, seen, flips)
        if target is not None:
            ranked = list(dict.fromkeys([class_index(target, network), *ranked]))
        ranked = ranked[: max(classes, 1)]
        arrays, layers = reading.arrays()
        if repair:
            begin("repair")
            self._add_repair(reading, subject, arrays, layers)
        else:
            reading.absent["cls_repaired"] = "it was not asked for"
        maps = MapSet()
        maker = MapMaker(self.network, labels, self.provenance, seed, verdicts)
        for name in names:
            begin(name)
            maker.add(maps, name, subject, ranked)
        if not curve:
            maps.absent["curve"] = "it was not asked for"
        elif not ranked:
            maps.absent["curve"] = f"{network.name} has no classes, so no probability that could be followed"
        else:
            begin("curves")
            maker.add_curves(maps, subject, ranked)
        return Inspection(
            row.name,
            subject.grid,
            {
                "name": network.name,
                "layers": len(network.anatomy.attentions),
                "heads": arrays["cls"].levels.shape[1] if "cls" in arrays else 0,
                "reads": network.anatomy.reads,
            },
            {**arrays, **maps.arrays()},
            layers,
            jpeg,
            answer,
            reading.keys,
            reading.lens,
            reading.artifacts,
            tuple(maps.entries),
            None,
            {**reading.absent, **maps.absent, **({} if longest else {"picture": "it was not asked for"})},
            self.provenance,
        )

    def stream(self, pictures: Iterable[PictureLike], **settings: Any) -> Iterator[Inspection]:
        """An inspection of each picture, one after the other; `settings` are those of a call."""
        for picture in pictures:
            yield self(picture, **settings)

    def find_repair(self, pictures: Sequence[PictureLike]) -> None:
        """Look for the neurons that make artifact tokens in these pictures (the first 16), for all inspections that
        follow, so that they do not depend on which of them comes first."""
        rows = pictures_of(list(pictures)[:SEARCHED], self.network)
        self._search([batch.pixels for batch in input_batches(self.network, rows, 8)], len(rows))

    def _subject(self, picture: Picture) -> Subject:
        (batch,) = input_batches(self.network, [picture], 1)
        rows, columns = cells(self.network, batch.pixels)
        grid = batch.preparation.grid(batch.sizes[0], rows, columns, self.network.anatomy.prefix)
        return Subject(picture, batch.pixels, batch.sizes[0], batch.preparation, grid)

    def _answer(
        self, reading: Reading, names: Sequence[str], true: str | None, seen: bool, flips: bool | None
    ) -> tuple[Answer | None, list[int]]:
        """What the network says, and the classes that maps are made of: predicted, true and runner-up."""
        try:
            if not self.network.has_classes:
                raise NetworkError(f"{self.network.name} has no head, so that its outputs are features and no classes")
            shares = self.network.probabilities(reading.logits.float())[0].cpu()  # (classes,)
        except NetworkError as error:
            reading.absent["answer"] = str(error)
            return None, []
        best = shares.argsort(descending=True, stable=True)[:BEST].tolist()
        answer = Answer(tuple((names[index], float(shares[index])) for index in best), true, seen, flips)
        truth = [names.index(true)] if true in names else []
        return answer, list(dict.fromkeys([best[0], *truth, *best[1:2]]))

    def _add_repair(
        self,
        reading: Reading,
        subject: Subject,
        arrays: dict[str, Quantised],
        layers: dict[str, tuple[int, ...]],
    ) -> None:
        """What the head reads with artifact tokens moved to a register, of a picture that has some."""
        if reading.artifacts is None:
            reading.absent["cls_repaired"] = reading.absent["artifacts"]
            return
        if self._repair is None or self._repair[0] is not self.network:
            self._search([subject.pixels], 1)
        _, network, why = self._repair or (None, None, "")
        if network is None:
            reading.absent["cls_repaired"] = why
            return
        after, numbers = read(network, subject.pixels, subject.grid, keys=False).arrays()
        arrays["cls_repaired"] = after["cls"]
        layers["cls_repaired"] = numbers["cls"]

    def _search(self, batches: Sequence[Tensor], count: int) -> None:
        """Look for the neurons to move, and keep the repaired copy, or why there is none."""
        plain = replace(self.network, precision="float32")
        try:
            with lock_of(plain.module):
                repair = find_repair(plain, batches)
                fixed = repaired(plain, repair.edit) if repair.neurons else None
            why = "" if fixed else f"no neurons were found that make the artifact tokens of {count} pictures"
        except NetworkError as error:
            fixed = None
            why = str(error)
        self._repair = self.network, fixed, why
