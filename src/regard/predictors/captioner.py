"""`regard.Captioner`: a captioner that is loaded once and captions any number of pictures in memory, word by word."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import starmap
from pathlib import Path
from typing import Any

from regard.errors import UsageError
from regard.explanation import METHODS
from regard.networks.captioners.base import CaptionNetwork
from regard.networks.captioners.load import load_caption_network
from regard.predictors.captions.job import CaptionJob, check_comparable
from regard.predictors.captions.options import CAPTURED, CaptionInput, CaptionOptions
from regard.predictors.inputs import PictureLike, Pictures, each_picture, is_one, pictures_of
from regard.predictors.method_options import report_precision
from regard.predictors.predictor import LoadedNetwork
from regard.records.captions import Caption, Captions

log = logging.getLogger("regard")


class Captioner(LoadedNetwork):
    """A network that is loaded once and captions pictures in memory, any number of times and from several threads.

    `model` is the shipped `scenes-captioner`, a run of `regard train --task caption`, a CATR (`catr-v1`, `catr-v2`,
    `catr-v3`, or a checkpoint file), `hf:ID`, a Hugging Face folder, or a `CaptionNetwork` that is loaded already and
    stays where it is. The network is left as it was.

    Its encoder computes in `precision`: float32, bfloat16 or auto (see `regard.load`); its decoder in float32. What was
    not shown to hold so stays in float32 and says so: captioners but those of `regard train` with an encoder of
    timm, and methods but `cross_attention`.

    >>> from regard.scenes import render, sample
    >>> captioner = Captioner("scenes-captioner", device="cpu")
    >>> picture = render(sample(3)).picture  # (height, width, 3) uint8; a path or an image of Pillow's does as well
    >>> caption = captioner(picture)
    >>> caption.text
    'an orange cat stands on the sand with an orange flower'
    >>> caption.maps.shape  # a map for each word and for <end>: (words, rows, columns)
    (12, 14, 14)
    >>> captioner(picture, "a cat on the grass").words[4].text  # a given caption, aligned word by word
    'grass'
    >>> [caption.text for caption in captioner.stream(render(sample(seed)).picture for seed in (2, 5))]
    ['a spotted brown cat is sitting in the water', 'a grey elephant sits on the grass with a grey table']
    """

    network: CaptionNetwork

    def __init__(
        self,
        model: str | Path | CaptionNetwork = "scenes-captioner",
        *,
        device: str | None = None,
        precision: str = "float32",
    ) -> None:
        self.network = load_caption_network(model, device, precision)
        self._remember(model, {"device": device, "precision": precision})
        if not isinstance(model, CaptionNetwork):
            for message in self.network.messages:
                log.info(message)

    def __call__(
        self,
        pictures: Pictures,
        captions: str | Sequence[str] | None = None,
        *,
        prompt: str | None = None,
        beams: int = 1,
        limit: int | None = None,
        method: str = CAPTURED,
        row: str = "predicting",
        layer: int | None = None,
        head: int | None = None,
        start: int | None = None,
        depends: bool = False,
        check: str | None = None,
        support: str | Path | None = None,
        batch_size: int = 8,
    ) -> Caption | Captions:
        """The caption of a picture, or of each picture of a list, word by word, with a map for every word.

        A picture is a path, an image of Pillow's, an array (H, W, 3) or (H, W), uint8, uint16 or floats from 0 to 1,
        or a tensor (3, H, W) of such. With `captions`, one for each picture, these are aligned with it instead of
        generated.
        `prompt` is what a caption begins with or answers, `limit` the most tokens of a generated one.

        Maps are by a `method` of METHODS that is of words, by default attention to the picture: of one `layer`, by
        default the last, and one `head`, by default the mean; `row` says which step's, the one that predicts a word or
        the one that reads it; `start` is the first layer that counts for a method that goes through them. With
        `depends` each caption is also scored for the next picture and for none, and with `check`, "quick" or "full",
        its words have `checks`: how far the picture supports them (WORD_CHECKS), for three passes, or for many; where
        it was measured on this network, by the file beside it or the `support` that is given, also that probability.

        Raises `UsageError` for an option that does not fit, and `DataError` for a picture that cannot be read.
        """
        options = CaptionOptions(prompt, beams, limit, method, row, layer, head, start, depends, check, support)
        listed = pictures_of(pictures)
        texts = [captions] if isinstance(captions, str) else captions
        if texts is None:
            inputs = [CaptionInput(picture) for picture in listed]
        elif len(texts) == len(listed):
            inputs = [CaptionInput(picture, text) for picture, text in zip(listed, texts, strict=True)]
        else:
            raise UsageError(f"{len(listed)} pictures came with {len(texts)} captions; give one for each picture")
        if depends:
            check_comparable(inputs)
        records = tuple(self._captions(inputs, options, texts is not None, batch_size))
        single = is_one(pictures) and getattr(pictures, "ndim", 3) != 4
        return records[0] if single else Captions(records)

    def stream(
        self,
        pictures: Iterable[PictureLike],
        captions: Iterable[str] | None = None,
        *,
        batch_size: int = 8,
        **options: Any,
    ) -> Iterator[Caption]:
        """The captions of any number of pictures, one after the other as they are asked for.

        No more than `batch_size` pictures are held. The `options` are those of a call, and are checked at once;
        `depends` needs a list, such as one of paths, as each picture is compared with the next one in a circle.
        """
        checked = CaptionOptions(**options)
        each = each_picture(pictures)
        inputs: Iterable[CaptionInput] = map(CaptionInput, each)
        if captions is not None:
            inputs = starmap(CaptionInput, zip(each, captions, strict=True))
        if checked.depends and not isinstance(pictures, Sequence):
            raise UsageError("depends compares each picture with the next one, in a circle; give a list of pictures")
        if checked.depends:
            inputs = list(inputs)
            check_comparable(inputs)
        return self._captions(inputs, checked, captions is not None, batch_size)

    def job(self, options: CaptionOptions, source: Mapping[str, Any] | None = None, **reading: Any) -> CaptionJob:
        """The options, checked against the network, for pictures that are still to come; the rest is as in the job."""
        row = METHODS[options.method]
        report_precision(row, self.network.precision)
        network = self.network if row.reduced and options.check is None else self.network.at_precision("float32")
        origin = {**self.provenance, "precision": network.precision}
        return CaptionJob(network, options.fitted(network), origin, source, **reading)

    def _versions(self) -> dict[str, str]:
        return {"transformers": version("transformers")}

    def _captions(
        self, inputs: Iterable[CaptionInput], options: CaptionOptions, is_aligned: bool, batch_size: int
    ) -> Iterator[Caption]:
        job = self.job(options, {"captions": "given"} if is_aligned else None, batch_size=batch_size)
        return (caption for _, caption, _ in job.captions(inputs))
