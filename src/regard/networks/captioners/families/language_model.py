"""Vision-language models: the picture is tokens among those of a prompt, and the answer attends to them.

While transformers generates, the attention of the one row that is needed of each step is recorded beside the fused
attention, so that the tokens are the same and no map of all tokens to all ever exists.
"""

import math
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from torch import Tensor, nn

from regard.errors import NetworkError, UsageError
from regard.networks.captioners.attention import Capture, RowRecorder, TraceRecorder
from regard.networks.captioners.base import PreparedPicture
from regard.networks.captioners.decoding import Decoding, check_count, until_stop
from regard.networks.captioners.pretrained import USUAL, PretrainedCaptioner, read_captioner, read_processor
from regard.networks.captioners.trace import CaptionTrace, lens_of, record_output
from regard.networks.guard import borrowed, eager_attention
from regard.networks.sources.huggingface_files import failures_of, quiet
from regard.records import PatchGrid

PROMPT = "Describe the picture in one sentence."


class _OneMore(transformers.StoppingCriteria):
    """Go one step beyond the token that stops: that step's row reads it."""

    def __init__(self, prompt: int, stops: Sequence[int]) -> None:
        self.prompt = prompt
        self.stops = set(stops)

    def __call__(self, input_ids: Tensor, scores: Any, **more: Any) -> Any:
        tokens = input_ids[0, self.prompt :].tolist()
        return torch.full((len(input_ids),), len(tokens) > 1 and tokens[-2] in self.stops, device=input_ids.device)


class LanguageModelCaptioner(PretrainedCaptioner):
    """What all kinds share. `image_token` stands at the places of the picture's tokens in the prompt (-1: none does).

    `fused` says whether its attention can be fused. `caption_values` are those that a caption's tokens have in masks
    and token types, where they are not 0.
    """

    fused = True
    caption_values: Mapping[str, int] = MappingProxyType({"attention_mask": 1})

    def __init__(self, folder: Path, model: str, config: Any) -> None:
        self.processor = read_processor(folder, model, config.model_type)
        module, messages = read_captioner(transformers.AutoModelForImageTextToText, folder, model)
        super().__init__(model, folder, module, self.processor.tokenizer, messages)
        self.config = config.get_text_config()
        self.decoder = module.get_decoder()
        token = getattr(config, "image_token_id", None)
        self.image_token = -1 if token is None else int(token)
        self.layers = self.config.num_hidden_layers
        self.heads = self.config.num_attention_heads
        self.limit = int(self.config.max_position_embeddings) - 1
        self.default_limit = min(USUAL, self.limit)

    def prepare(self, image: Image.Image, prompt: str | None = None) -> PreparedPicture:
        with quiet(), failures_of(f"the picture preparation of {self.name} cannot be loaded"):
            text = self._prompted(PROMPT if prompt is None else prompt)
            inputs = dict(self.processor(images=[image], text=[text], return_tensors="pt"))
        tokens = inputs["input_ids"][0]
        places = (tokens == self.image_token).nonzero()[:, 0]
        if len(tokens) >= self.limit:
            raise UsageError(
                f"picture and prompt are {len(tokens)} tokens for {self.name}, which takes {self.limit}; shorten the "
                "prompt, or give a smaller picture"
            )
        rows, columns, spread = self.layout(inputs, len(places))
        grid = PatchGrid.whole(rows, columns, 0, (image.height, image.width))
        return PreparedPicture(inputs, grid, tuple(tokens.tolist()), places, spread)

    def _prompted(self, prompt: str) -> str:
        """The prompt with the picture before it, as the model's own template puts it."""
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        text: str = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return text

    @abstractmethod
    def layout(self, inputs: Mapping[str, Tensor], places: int) -> tuple[int, int, Tensor | None]:
        """(rows, columns) of the picture's tokens, and, unless they lie row by row, how each spreads:
        (places, rows × columns), each row summing to one."""

    def caption(
        self, picture: PreparedPicture, beams: int, limit: int, capture: Capture | None, alternatives: int
    ) -> Decoding:
        limit = min(limit, self.limit - len(picture.start))
        if beams == 1:
            return self._greedy(picture, limit, capture, alternatives)
        return self.score(picture, self._search(picture, beams, limit), capture, alternatives)

    def _greedy(self, picture: PreparedPicture, limit: int, capture: Capture | None, alternatives: int) -> Decoding:
        """Generated, its attention recorded on the way."""
        prompt = len(picture.start)
        beyond = self.config.vocab_size  # a token that never comes: `_OneMore` stops in the place of transformers
        settings = self.generation_settings(1, limit + 1, eos_token_id=beyond, output_logits=True)
        stopping = transformers.StoppingCriteriaList([_OneMore(prompt, self.stops)])
        with self._recording(picture, capture, 1) as recorder:
            output = self.module.generate(
                **self._inputs(picture), generation_config=settings, stopping_criteria=stopping
            )
        tokens = until_stop(output.sequences[0, prompt:][:limit].tolist(), self.stops)
        logits = torch.cat(output.logits)[: len(tokens)]
        attention = self._on_grid(recorder, picture)
        attention = None if attention is None else attention[:, :, : len(tokens) + 1]
        return self.decoding_of(tokens, logits, attention, alternatives)

    def _search(self, picture: PreparedPicture, beams: int, limit: int) -> tuple[int, ...]:
        with self._recording(picture, None, 1):
            output = self.module.generate(
                **self._inputs(picture), generation_config=self.generation_settings(beams, limit)
            )
        return until_stop(output.sequences[0, len(picture.start) :].tolist(), self.stops)

    def score(
        self, picture: PreparedPicture, tokens: tuple[int, ...], capture: Capture | None, alternatives: int
    ) -> Decoding:
        """One pass over prompt and caption; of its attention only the caption's rows are recorded."""
        inputs = self._inputs(picture, tokens)
        count = len(tokens) + 1
        with self._recording(picture, capture, count) as recorder:
            logits = self.module(**inputs, use_cache=False, logits_to_keep=count).logits[0, -count:-1]
        return self.decoding_of(tokens, logits, self._on_grid(recorder, picture), alternatives)

    @property
    def capabilities(self) -> frozenset[str]:
        queries = hasattr(self.module, "qformer")  # those stand for the picture, and lie nowhere in it
        more = () if queries else ("picture tokens",)
        return frozenset(("attention", "gradients", "text attention", "shared", "lens", *more))

    def trace(
        self,
        picture: PreparedPicture,
        tokens: Sequence[int],
        *,
        capture: Capture | None = None,
        layer: int | None = None,
        alternatives: int = 0,
    ) -> CaptionTrace:
        """Hidden states are those behind a block of the language model, before its last norm; a patch's is that of its
        token. Tokens of the picture that lie nowhere in it (ends of lines) are no patches, but attended to."""
        self.check(capture)
        self.check(Capture(layer))
        check_count(1, [tokens], self.limit)
        caption = tuple(map(int, tokens))
        count = len(caption) + 1
        capture = capture or Capture(self.layers - 1)
        states: list[Tensor] = []
        with borrowed(self.module) as hooks, self._recording(picture, capture, count, TraceRecorder) as recorder:
            hooks.append(record_output(self.blocks[self.layers - 1 if layer is None else layer], states))
            output = self.module(**self._inputs(picture, caption), use_cache=False, logits_to_keep=count)
            lens = lens_of(states[0][0, -count:], states[0][0, self._patch_places(picture)], caption, self.read_out)
        if not isinstance(recorder, TraceRecorder) or picture.places is None:
            raise NetworkError(f"the prompt of {self.name} has no tokens of the picture; prepare the picture again")
        attention = recorder.means()[:, 0, :-1].float().cpu()  # (layers, tokens, keys)
        logits = output.logits[0, -count:-1]
        few = min(alternatives, logits.shape[-1])
        decoding = self.decoding_of(caption, logits, self._on_grid(recorder, picture), few)
        return CaptionTrace(decoding, attention, attention.shape[2] - len(caption), picture.places.cpu(), lens)

    def _patch_places(self, picture: PreparedPicture) -> Tensor:
        """Where the picture's tokens are among all, of those alone that lie somewhere in it."""
        places = torch.empty(0, dtype=torch.long) if picture.places is None else picture.places
        rows = picture.spread is not None and len(picture.spread) == len(places)
        return (places[picture.spread.cpu().sum(1) > 0] if rows and picture.spread is not None else places).to(
            self.device
        )

    def read_out(self, states: Tensor) -> Tensor:
        """States behind the last block (..., width) → logits (..., vocabulary): the last norm, if any, and the head."""
        for name in ("norm", "final_layer_norm", "project_out"):
            part = getattr(self.decoder, name, None)
            states = states if part is None else part(states)
        logits: Tensor = self.module.get_output_embeddings()(states)
        cap = getattr(self.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def token_logits(self, picture: PreparedPicture, tokens: Sequence[int], of: Sequence[int]) -> Tensor:
        """The head's rows of those tokens times the last hidden states, before a cap on logits where there is one.

        The head is never run for the whole vocabulary at every place, which would take most of the memory.
        """
        states: list[Tensor] = []

        def hook(part: Any, inputs: Any, output: Any) -> None:
            states.append(output.last_hidden_state[0])  # (places, width)

        with borrowed(self.module) as hooks, self._recording(picture, None, 1):
            hooks.append(self.decoder.register_forward_hook(hook))
            self.module(**self._inputs(picture, tokens), use_cache=False, logits_to_keep=1)
            head = self.module.get_output_embeddings()
            rows = list(of)
            bias = None if head.bias is None else head.bias[rows]
            return F.linear(states[-1], head.weight[rows], bias).T.float().cpu()  # (of, places)

    def _inputs(self, picture: PreparedPicture, tokens: Sequence[int] = ()) -> dict[str, Tensor]:
        """What the network takes: the prompt, and behind it a caption."""
        inputs = {name: value.to(self.device) for name, value in picture.inputs.items()}
        caption = torch.tensor([list(tokens)], dtype=torch.long, device=self.device)
        shape = inputs["input_ids"].shape
        for name, value in inputs.items():
            if name == "input_ids":
                inputs[name] = torch.cat([value, caption], dim=1)
            elif value.shape == shape:  # masks and kinds of tokens: the caption is plain text
                more = torch.full_like(caption, self.caption_values.get(name, 0))
                inputs[name] = torch.cat([value, more.to(value.dtype)], dim=1)
        return inputs

    @property
    def attention_modules(self) -> Sequence[nn.Module]:
        """The modules of the language model that attend, layer by layer."""
        return [block.self_attn for block in self.blocks]

    @property
    def blocks(self) -> Sequence[Any]:
        """The blocks of the language model, first to last."""
        return list(self.decoder.layers)

    @contextmanager
    def _recording(
        self, picture: PreparedPicture, capture: Capture | None, count: int, kind: type[RowRecorder] = RowRecorder
    ) -> Iterator[RowRecorder | None]:
        """Inside, the network is lent and, with `capture`, the last `count` rows of each call are recorded."""
        recorder = None
        with borrowed(self.module) as hooks, quiet(), torch.no_grad(), eager_attention(self.decoder, not self.fused):
            if capture is not None and picture.places is not None:
                keys = picture.places.to(self.device)
                recorder = kind(self.attention_modules, self.heads, capture, count, keys, eager=not self.fused)
                recorder.attach(hooks)
            yield recorder

    def _on_grid(self, recorder: RowRecorder | None, picture: PreparedPicture) -> Tensor | None:
        """(layers, heads, rows, rows of patches, columns), of the picture whose tokens were the recorder's keys."""
        if recorder is None:
            return None
        rows = recorder.attention()[:, 0].float().cpu()  # (layers, heads, rows, picture's tokens)
        rows = rows if picture.spread is None else rows @ picture.spread
        return rows.unflatten(-1, (picture.grid.rows, picture.grid.columns))


class Idefics(LanguageModelCaptioner):
    """Idefics3 and SmolVLM: the picture cut into square tiles, and last the whole of it as one more tile.

    The map is on the tiles' grid; what goes to a token of the whole picture spreads evenly over the patches that lie
    under it.
    """

    def layout(self, inputs: Mapping[str, Tensor], places: int) -> tuple[int, int, Tensor | None]:
        tiles = inputs["pixel_values"].shape[1]
        side = math.isqrt(places // tiles)
        names = self.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
        cut = [
            tuple(map(int, match.groups())) for name in names if (match := re.fullmatch(r"<row_(\d+)_col_(\d+)>", name))
        ]
        down, across = (max(each) for each in zip(*cut, strict=True)) if cut else (1, 1)
        if side * side * tiles != places or tiles != (down * across + 1 if cut else 1):
            raise NetworkError(f"the {places} tokens of {tiles} tiles of the picture lie as regard does not know")
        if not cut:
            return side, side, None
        return down * side, across * side, _spread(side, down, across)


def _spread(side: int, down: int, across: int) -> Tensor:
    """(tokens, patches): tiles of side × side tokens, `down` × `across` of them and the whole, on one grid."""
    cells = torch.eye(down * side * across * side).unflatten(0, (down, side, across, side))
    tiles = cells.transpose(1, 2).flatten(0, 3)  # token by token, tile by tile
    whole = cells.flatten(0, 1).flatten(1, 2).unflatten(0, (side, down)).unflatten(2, (side, across))
    return torch.cat([tiles, whole.mean((1, 3)).flatten(0, 1)])


class Qwen(LanguageModelCaptioner):
    """Qwen's: a grid of any shape, of which each token holds 2 × 2 patches."""

    def layout(self, inputs: Mapping[str, Tensor], places: int) -> tuple[int, int, Tensor | None]:
        _, high, wide = inputs["image_grid_thw"][0].tolist()
        merged = int(self.module.config.vision_config.spatial_merge_size)
        if high // merged * (wide // merged) != places:
            raise NetworkError(f"the {places} tokens of the picture do not fit a grid of {high} × {wide} patches")
        return high // merged, wide // merged, None
