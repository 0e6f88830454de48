"""Five captioners of 1 to 5 million weights, built from the configurations of transformers: how each is put together,
saved as a folder, and run over patches that a tower has already given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from regard.networks.captioners.families.language_model import PROMPT
from small import towers
from small.towers import SHAPE, Names

WIDTH = 192
TEXT = {"num_hidden_layers": 3, "hidden_size": WIDTH, "num_attention_heads": 4}
CALM = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
LLAMA = {
    **TEXT, "model_type": "llama", "intermediate_size": 512, "num_key_value_heads": 4, "max_position_embeddings": 320,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
}  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}:{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


@dataclass(frozen=True)
class Family:
    """A family of captioners. `build` makes its module and what reads for it from texts; `tower` finds its vision
    tower, whose parts are called `names`; `logits` runs all else.

    `logits(module, patches, tokens, mask, positions)`: patches (n, tokens of the tower, 192), tokens, mask and
    positions of a packed sequence (see training.py) → (n, length, vocabulary). `patches` says how many tokens of the
    picture stand before the text where the mask must speak of them, else 0.
    """

    build: Callable[[Sequence[str]], tuple[Any, ...]]
    tower: Callable[[Any], nn.Module]
    names: Names
    logits: Callable[[Any, Tensor, Tensor, Tensor, Tensor], Tensor]
    patches: int = 0


def save(parts: Sequence[Any], folder: Path) -> None:
    """Network, vocabulary and preparation as a folder that `regard caption --model FOLDER` loads."""
    for part in parts:
        part.save_pretrained(folder)


def words(texts: Sequence[str]) -> transformers.PreTrainedTokenizerFast:
    """A vocabulary of whole words, as BLIP and GIT call theirs."""
    known = sorted({word for text in texts for word in text.split()})
    pieces = {piece: token for token, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *known, "##s"])}
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]"
    )


def pieces(texts: Sequence[str], *special: str) -> transformers.PreTrainedTokenizerFast:
    """Byte-level pieces, as GPT-2 has them, enough of them for every word to be one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=_special(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **TOKENS)


def marked(texts: Sequence[str], *special: str) -> transformers.PreTrainedTokenizerFast:
    """Pieces that bear a mark where a word begins, as LLaMA has them."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    letters = [chr(code) for code in range(32, 127)]
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=[*_special(special), "<unk>"], initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **TOKENS)


def _special(more: Sequence[str]) -> list[str]:
    return ["<pad>", "<s>", "</s>", *more]


SIZE = {"height": 224, "width": 224}
HALF = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def vit_gpt2(texts: Sequence[str]) -> tuple[Any, ...]:
    """VisionEncoderDecoder of a ViT and a GPT-2 with cross-attention."""
    tokenizer = pieces(texts)
    gpt = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=64, n_embd=WIDTH, n_layer=3, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, activation_function="gelu", add_cross_attention=True,
        is_decoder=True, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(transformers.ViTConfig(**SHAPE), gpt)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    module = transformers.VisionEncoderDecoderModel(config=config)
    module.generation_config.update(decoder_start_token_id=1, pad_token_id=0, eos_token_id=2)
    return module, tokenizer, transformers.ViTImageProcessor(size=SIZE, **HALF)


def blip(texts: Sequence[str]) -> tuple[Any, ...]:
    """BLIP."""
    tokenizer = words(texts)
    text = {
        **TEXT, "intermediate_size": 768, "vocab_size": len(tokenizer) + 1, "max_position_embeddings": 64,
        "encoder_hidden_size": 192, "bos_token_id": len(tokenizer), "sep_token_id": 3, "eos_token_id": 3,
        "pad_token_id": 0, **CALM,
    }  # fmt: skip
    config = transformers.BlipConfig(text_config=text, vision_config=dict(SHAPE))
    module = transformers.BlipForConditionalGeneration(config)
    return module, tokenizer, transformers.BlipImageProcessor(size=SIZE, **HALF)


def git(texts: Sequence[str]) -> tuple[Any, ...]:
    """GIT, whose pictures are whole."""
    tokenizer = words(texts)
    config = transformers.GitConfig(
        vision_config=dict(SHAPE), vocab_size=len(tokenizer), **TEXT, **CALM, intermediate_size=768,
        max_position_embeddings=64, bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    images = transformers.CLIPImageProcessor(size=SIZE, crop_size=SIZE, **HALF)
    return transformers.GitForCausalLM(config), transformers.GitProcessor(images, tokenizer)


def llava(texts: Sequence[str]) -> tuple[Any, ...]:
    """LLaVA of a CLIP and a LLaMA."""
    tokenizer = marked([*texts, *_turns()], "<image>")
    config = transformers.LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **SHAPE, "projection_dim": WIDTH}, image_token_index=3,
        text_config={**LLAMA, "vocab_size": len(tokenizer)}, tie_word_embeddings=False, vision_feature_layer=-1,
    )  # fmt: skip
    module = transformers.LlavaForConditionalGeneration(config)
    module.generation_config.update(eos_token_id=2, pad_token_id=0, bos_token_id=1)
    images = transformers.LlavaImageProcessor(size=SIZE, crop_size=SIZE, **HALF)
    processor = transformers.LlavaProcessor(
        images, tokenizer, patch_size=16, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )  # fmt: skip
    return module, processor


def smolvlm(texts: Sequence[str]) -> tuple[Any, ...]:
    """SmolVLM whose tokens of the picture hold 2 × 2 patches, of a SigLIP and a LLaMA."""
    special = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    tokenizer = pieces([*texts, *_turns()], *special)
    config = transformers.SmolVLMConfig(
        text_config={**LLAMA, "vocab_size": len(tokenizer)}, vision_config=dict(SHAPE), scale_factor=2,
        image_token_id=3, pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    module = transformers.SmolVLMForConditionalGeneration(config)
    module.generation_config.update(eos_token_id=2, pad_token_id=0, bos_token_id=1)
    images = transformers.SmolVLMImageProcessor(
        size={"longest_edge": 224}, max_image_size={"longest_edge": 224}, do_image_splitting=False, **HALF
    )
    return module, transformers.Idefics3Processor(images, tokenizer, image_seq_len=49, chat_template=TEMPLATE)


def _turns() -> list[str]:
    """What stands about a caption, often enough to become whole pieces."""
    return [f"user: {PROMPT}\nassistant:"] * 50


def _after_cross_attention(name: str) -> Callable[..., Tensor]:
    def logits(module: Any, patches: Tensor, tokens: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        how = {"attention_mask": mask, "position_ids": positions, "encoder_hidden_states": patches, "use_cache": False}
        result: Tensor = getattr(module, name)(input_ids=tokens, **how).logits
        return result

    return logits


def _after_git(module: Any, patches: Tensor, tokens: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
    seen = module.git.visual_projection(patches)
    text = module.git.embeddings(input_ids=tokens, position_ids=positions)
    states = module.git.encoder(torch.cat([seen, text.to(seen.dtype)], 1), attention_mask=mask).last_hidden_state
    result: Tensor = module.output(states[:, seen.shape[1] :])
    return result


def _among_tokens(project: Callable[[Any, Tensor], Tensor], language: str) -> Callable[..., Tensor]:
    def logits(module: Any, patches: Tensor, tokens: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        embedded = module.get_input_embeddings()(tokens)
        seen = project(module.model, patches).to(embedded.dtype)
        places = (tokens == module.config.image_token_id)[..., None]
        embedded = embedded.masked_scatter(places.expand_as(embedded), seen)
        how = {"attention_mask": mask, "position_ids": positions, "use_cache": False}
        states = getattr(module.model, language)(inputs_embeds=embedded, **how).last_hidden_state
        result: Tensor = module.lm_head(states)
        return result

    return logits


def _llava_patches(model: Any, patches: Tensor) -> Tensor:
    projected: Tensor = model.multi_modal_projector(patches[:, 1:])
    return projected


FAMILIES = {
    "vit-gpt2": Family(vit_gpt2, lambda module: module.encoder, towers.VIT, _after_cross_attention("decoder")),
    "blip": Family(
        blip, lambda module: module.vision_model, towers.BLIP, _after_cross_attention("text_decoder")
    ),
    "git": Family(
        git, lambda module: module.git.image_encoder.vision_model, towers.CLIP, _after_git, patches=197
    ),
    "llava": Family(
        llava, lambda module: module.model.vision_tower, towers.CLIP, _among_tokens(_llava_patches, "language_model")
    ),
    "smolvlm": Family(
        smolvlm, lambda module: module.model.vision_model, towers.SIGLIP,
        _among_tokens(lambda model, patches: model.connector(patches), "text_model"),
    ),
}  # fmt: skip
