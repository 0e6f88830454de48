"""Small captioners of every kind, of random values and awake, saved as folders with a vocabulary made here."""

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

SENTENCES = [
    "a small cat raises its left paw near a red ball",
    "the dogs are running unbelievably fast over wet snow, aren't they?",
    "two unbelievable bicycles and a yellow bus in the street.",
]


def byte_vocabulary(*special: str, size: int = 300, **named: str) -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<pad>", "<s>", "</s>", *special],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", extra_special_tokens=named
    )


def word_vocabulary() -> transformers.PreTrainedTokenizerFast:
    words = sorted({word for sentence in SENTENCES for word in sentence.replace(",", " ,").split()})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##believ", "##able", "##ably", ".", *words]
    tokenizer = Tokenizer(models.WordPiece({piece: token for token, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]"
    )


def wake(module: nn.Module, attention: Callable[[], list[Tensor]], logits: Callable[[], Tensor]) -> None:
    """Random values everywhere, queries and keys scaled until each layer's largest weight is above 0.3 and far from
    all alike, the head until what is said is no accident."""
    generator = torch.Generator().manual_seed(5)
    sharp = ("q_proj", "k_proj", "query", "key", "q_attn", "c_attn", "qkv")
    with torch.no_grad():
        for name, part in module.named_parameters():
            noise = torch.randn(part.shape, generator=generator)
            if part.ndim == 1:
                part.copy_((1 if name.endswith("weight") else 0) + 0.1 * noise)
            else:
                fan = part.shape[0] if "c_attn" in name or "c_proj" in name else part[0].numel()
                part.copy_(noise if any(key in name for key in ("embed", "wte", "shared")) else noise / math.sqrt(fan))
        for _ in range(40):
            if min(float(layer.max()) for layer in attention()) > 0.3:
                break
            for name, part in module.named_parameters():
                if "q_norm" in name or (part.ndim > 1 and any(key in name for key in sharp)):
                    part *= 1.15
        else:
            raise AssertionError("the network did not wake")
        assert float(logits().std()) > 0.1


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    blots = np.random.default_rng(seed).integers(0, 255, (3, 4, 3), np.uint8)
    return Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC)


def encoder_decoder(folder: Path) -> Path:
    """ViT-GPT2 of 4 × 6 patches."""
    torch.manual_seed(0)
    tokenizer = byte_vocabulary()
    vit = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=(32, 48),
        patch_size=8,
    )
    gpt = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_positions=40, n_embd=48, n_layer=3, n_head=4, add_cross_attention=True,
        is_decoder=True, bos_token_id=1, eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(vit, gpt)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    module = transformers.VisionEncoderDecoderModel(config=config).eval()
    module.generation_config.update(decoder_start_token_id=1, pad_token_id=0, eos_token_id=2)
    module.set_attn_implementation("eager")
    pixels, tokens = torch.randn(1, 3, 32, 48), torch.randint(3, 250, (1, 12))

    def run() -> transformers.utils.ModelOutput:
        return module(pixel_values=pixels, decoder_input_ids=tokens, output_attentions=True)

    wake(module, lambda: list(run().cross_attentions), lambda: run().logits)
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 48})
    return _saved(folder, module, tokenizer, processor)


def blip(folder: Path) -> Path:
    """BLIP of 4 × 4 patches."""
    torch.manual_seed(0)
    tokenizer = word_vocabulary()
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    text = {
        **size, "vocab_size": len(tokenizer) + 1, "max_position_embeddings": 40, "encoder_hidden_size": 32,
        "bos_token_id": len(tokenizer), "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0, "num_hidden_layers": 3,
    }  # fmt: skip
    config = transformers.BlipConfig(text_config=text, vision_config={**size, "image_size": 32, "patch_size": 8})
    module = transformers.BlipForConditionalGeneration(config).eval()
    pixels, tokens = torch.randn(1, 3, 32, 32), torch.randint(4, len(tokenizer), (1, 12))

    def run() -> transformers.utils.ModelOutput:
        seen = module.vision_model(pixel_values=pixels).last_hidden_state
        return module.text_decoder(input_ids=tokens, encoder_hidden_states=seen, output_attentions=True)

    wake(module, lambda: list(run().cross_attentions), lambda: run().logits)
    processor = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    return _saved(folder, module, tokenizer, processor)


def _saved(folder: Path, *parts: object) -> Path:
    for part in parts:
        part.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder


TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}:{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def tiled(folder: Path, name: str = "Idefics3") -> Path:
    """Idefics3, or SmolVLM, whose tiles of 32 × 32 pixels are 2 × 2 tokens each."""
    torch.manual_seed(0)
    cells = [f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4)]
    tokenizer = byte_vocabulary(
        "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *cells, size=320
    )
    text = {
        "model_type": "llama", "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
        "patch_size": 8,
    }  # fmt: skip
    image = tokenizer.convert_tokens_to_ids("<image>")
    config = getattr(transformers, f"{name}Config")(
        text_config=text, vision_config=vision, scale_factor=2, image_token_id=image, pad_token_id=0,
        tie_word_embeddings=False,
    )  # fmt: skip
    module = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
    module.generation_config.update(eos_token_id=2, pad_token_id=0, bos_token_id=1)
    processor = transformers.Idefics3Processor(
        getattr(transformers, f"{name}ImageProcessor")(size={"longest_edge": 96}, max_image_size={"longest_edge": 32}),
        tokenizer, image_seq_len=4, chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )  # fmt: skip
    _wake_chat(module, processor)
    return _saved(folder, module, processor)


def merged(folder: Path, name: str = "Qwen2_5_", vision: dict | None = None) -> Path:
    """Qwen2.5-VL, or another, whose tokens hold 2 × 2 patches of 14 pixels."""
    torch.manual_seed(0)
    tokenizer = byte_vocabulary("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>", size=320)
    start, image, end, video = tokenizer.convert_tokens_to_ids(
        ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|video_pad|>"]
    )
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
    }  # fmt: skip
    vision = vision or {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 32, "patch_size": 14,
        "fullatt_block_indexes": [1], "window_size": 56,
    }  # fmt: skip
    config = getattr(transformers, f"{name}VLConfig")(
        text_config=text, vision_config=vision, image_token_id=image, video_token_id=video, vision_start_token_id=start,
        vision_end_token_id=end, tie_word_embeddings=False,
    )  # fmt: skip
    module = getattr(transformers, f"{name}VLForConditionalGeneration")(config).eval()
    module.generation_config.update(eos_token_id=[2, 0], pad_token_id=0, bos_token_id=1)
    sizes = {"shortest_edge": 56 * 56, "longest_edge": 84 * 140}
    tokenizer.image_token, tokenizer.video_token = "<|image_pad|>", "<|video_pad|>"
    template = TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    films = transformers.Qwen3VLVideoProcessor if name == "Qwen3" else transformers.Qwen2VLVideoProcessor
    processor = getattr(transformers, f"{name}VLProcessor")(
        transformers.Qwen2VLImageProcessor(size=sizes), tokenizer, films(), chat_template=template
    )
    _wake_chat(module, processor)
    return _saved(folder, module, processor)


def _wake_chat(module: nn.Module, processor: transformers.ProcessorMixin) -> None:
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a cat?"}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    inputs = processor(images=[picture(60, 100)], text=[text], return_tensors="pt")
    module.set_attn_implementation("eager")
    last = []

    def run() -> transformers.utils.ModelOutput:
        with torch.no_grad():
            return module(**inputs, output_attentions=True)

    def attention() -> list[Tensor]:
        last[:] = [run()]
        return [layer[:, :, -1] for layer in last[0].attentions]

    wake(module, attention, lambda: last[0].logits)


def smolvlm(folder: Path) -> Path:
    """SmolVLM like `tiled`."""
    return tiled(folder, "SmolVLM")


def qwen2_vl(folder: Path) -> Path:
    """Qwen2-VL like `merged`."""
    vision = {
        "depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2, "patch_size": 14,
    }  # fmt: skip
    return merged(folder, "Qwen2", vision)


def qwen3_vl(folder: Path) -> Path:
    """Qwen3-VL like `merged`, whose deeper layers get the picture once more."""
    vision = {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4, "out_hidden_size": 32, "patch_size": 14,
        "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
    }  # fmt: skip
    return merged(folder, "Qwen3", vision)


CLIP = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
    "patch_size": 8, "vocab_size": 9, "projection_dim": 32,
}  # fmt: skip
LLAMA = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    "tie_word_embeddings": False,
}  # fmt: skip


def llava(folder: Path) -> Path:
    """LLaVA of 4 × 4 patches of the middle of a picture."""
    return _llava(folder, "Llava", {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}})


def llava_next(folder: Path) -> Path:
    """LLaVA-NeXT of tiles of 4 × 4 patches, which a picture of 60 × 100 does not fill."""
    points = [[32, 64], [64, 32], [64, 96], [96, 64]]
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "image_grid_pinpoints": points}
    return _llava(folder, "LlavaNext", sizes, image_grid_pinpoints=points)


def _llava(folder: Path, name: str, sizes: dict, **more: object) -> Path:
    torch.manual_seed(0)
    tokenizer = byte_vocabulary("<image>")
    config = getattr(transformers, f"{name}Config")(
        vision_config={"model_type": "clip_vision_model", **CLIP}, image_token_index=3,
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **LLAMA}, tie_word_embeddings=False, **more,
    )  # fmt: skip
    module = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
    module.generation_config.update(eos_token_id=2, pad_token_id=0, bos_token_id=1)
    processor = getattr(transformers, f"{name}Processor")(
        getattr(transformers, f"{name}ImageProcessor")(**sizes), tokenizer, patch_size=8,
        vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )  # fmt: skip
    _wake_chat(module, processor)
    return _saved(folder, module, processor)


def paligemma(folder: Path) -> Path:
    """PaliGemma of 4 × 4 patches, with one pair of keys and values for all heads."""
    return _paligemma(folder, {"model_type": "gemma"})


def paligemma2(folder: Path) -> Path:
    """PaliGemma 2, which squashes its scores, and whose every other layer looks back 24 tokens only."""
    text = {
        "model_type": "gemma2", "attn_logit_softcapping": 8.0, "query_pre_attn_scalar": 8, "sliding_window": 24,
        "final_logit_softcapping": 30.0,
    }  # fmt: skip
    return _paligemma(folder, text)


def _paligemma(folder: Path, kind: dict) -> Path:
    torch.manual_seed(0)
    tokenizer = byte_vocabulary("<image>")
    processor = transformers.PaliGemmaProcessor(
        transformers.SiglipImageProcessor(size={"height": 32, "width": 32}, image_seq_length=16), tokenizer
    )
    text = {**LLAMA, "vocab_size": len(tokenizer), "num_key_value_heads": 1, "head_dim": 8, **kind}
    vision = {name: value for name, value in CLIP.items() if name != "vocab_size"}
    config = transformers.PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **vision}, text_config=text,
        image_token_index=processor.image_token_id, projection_dim=32, hidden_size=32, tie_word_embeddings=False,
    )  # fmt: skip
    module = transformers.PaliGemmaForConditionalGeneration(config).eval()
    module.generation_config.update(eos_token_id=2, pad_token_id=0, bos_token_id=1)
    with warnings.catch_warnings():  # its own, of the labels that it makes
        warnings.simplefilter("ignore", DeprecationWarning)
        inputs = processor(images=[picture(60, 100)], text=["<image>a cat"], return_tensors="pt")
    inputs.pop("labels")
    _wake_language(module, inputs)
    return _saved(folder, module, processor)


def git(folder: Path) -> Path:
    """GIT of 4 × 4 patches of the middle of a picture."""
    torch.manual_seed(0)
    tokenizer = word_vocabulary()
    vision = {name: value for name, value in CLIP.items() if name not in ("vocab_size", "projection_dim")}
    config = transformers.GitConfig(
        vision_config=vision, vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=64, bos_token_id=2, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    module = transformers.GitForCausalLM(config).eval()
    processor = transformers.GitProcessor(
        transformers.CLIPImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}), tokenizer
    )
    pixels = processor.image_processor(images=[picture(60, 100)], return_tensors="pt")["pixel_values"]
    _wake_language(module, {"pixel_values": pixels, "input_ids": torch.randint(4, len(tokenizer), (1, 12))})
    return _saved(folder, module, processor)


QFORMER = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 9,
    "encoder_hidden_size": 32,
}  # fmt: skip


def blip2(folder: Path) -> Path:
    """BLIP-2 with an OPT: 6 queries look at 4 × 6 patches."""
    tokenizer = byte_vocabulary("<image>")
    text = {
        "model_type": "opt", "vocab_size": len(tokenizer), "hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "max_position_embeddings": 64, "word_embed_proj_dim": 32, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
    }  # fmt: skip
    return _blip2(folder, tokenizer, text, lambda output: output.language_model_outputs.attentions)


def blip2_t5(folder: Path) -> Path:
    """The same with a T5."""
    tokenizer = byte_vocabulary("<image>")
    text = {
        "model_type": "t5", "vocab_size": len(tokenizer), "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3,
        "num_decoder_layers": 3, "num_heads": 4, "n_positions": 64, "decoder_start_token_id": 0, "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
    }  # fmt: skip
    return _blip2(folder, tokenizer, text, lambda output: output.language_model_outputs.cross_attentions)


def _blip2(
    folder: Path,
    tokenizer: transformers.PreTrainedTokenizerFast,
    text: dict,
    attention: Callable[[transformers.utils.ModelOutput], tuple[Tensor, ...]],
) -> Path:
    torch.manual_seed(0)
    vision = {**CLIP, "image_size": 48}
    config = transformers.Blip2Config(
        vision_config={name: value for name, value in vision.items() if name not in ("vocab_size", "projection_dim")},
        qformer_config=QFORMER, text_config=text, num_query_tokens=6, image_token_index=3,
    )  # fmt: skip
    module = transformers.Blip2ForConditionalGeneration(config).eval()
    processor = transformers.Blip2Processor(
        transformers.BlipImageProcessor(size={"height": 32, "width": 48}), tokenizer, num_query_tokens=6
    )
    inputs = processor(images=[picture(60, 100)], text=["a cat"], return_tensors="pt")
    if text["model_type"] == "t5":
        inputs["decoder_input_ids"] = torch.randint(4, 250, (1, 12))

    def queries(_: transformers.utils.ModelOutput) -> tuple[Tensor, ...]:
        seen = module.vision_model(inputs["pixel_values"]).last_hidden_state
        return module.qformer(module.query_tokens, encoder_hidden_states=seen, output_attentions=True).cross_attentions

    _wake_language(module, inputs, attention, queries)
    return _saved(folder, module, processor)


def florence2(folder: Path) -> Path:
    """Florence-2 of 4 × 6 patches after a DaViT of two stages, which forces its first token and no word thrice."""
    torch.manual_seed(0)
    tokenizer = byte_vocabulary("<image>", image_token="<image>")
    vision = {
        "depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1],
        "patch_prenorm": [False, True], "embed_dim": [16, 32], "num_heads": [2, 4], "num_groups": [2, 4],
        "window_size": 3, "projection_dim": 32, "max_position_embeddings": 8,
    }  # fmt: skip
    text = {
        "model_type": "bart", "vocab_size": len(tokenizer), "d_model": 32, "encoder_layers": 2, "decoder_layers": 3,
        "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
        "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        "decoder_start_token_id": 2, "forced_eos_token_id": None,
    }  # fmt: skip
    config = transformers.Florence2Config(vision_config=vision, text_config=text, image_token_id=3)
    module = transformers.Florence2ForConditionalGeneration(config).eval()
    module.generation_config.update(
        bos_token_id=1, eos_token_id=2, pad_token_id=0, decoder_start_token_id=2, forced_bos_token_id=1,
        forced_eos_token_id=2, no_repeat_ngram_size=3, num_beams=3,
    )  # fmt: skip
    images = transformers.CLIPImageProcessor(
        size={"height": 32, "width": 48}, do_center_crop=False, image_seq_length=25
    )
    processor = transformers.Florence2Processor(images, tokenizer)
    inputs = processor(images=[picture(60, 100)], text=["a cat"], return_tensors="pt")
    inputs["decoder_input_ids"] = torch.randint(4, 250, (1, 12))
    _wake_language(module, inputs, lambda output: output.cross_attentions)
    return _saved(folder, module, processor)


def _wake_language(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    *kinds: Callable[[transformers.utils.ModelOutput], tuple[Tensor, ...]],
) -> None:
    """Awake in all kinds of attention that its output has, by default that of its own layers' last rows."""
    module.set_attn_implementation("eager")
    last = []

    def attention() -> list[Tensor]:
        with torch.no_grad():
            last[:] = [module(**inputs, output_attentions=True)]
            heard = kinds or (lambda output: output.attentions,)
            return [layer[:, :, -1] for kind in heard for layer in kind(last[0])]

    wake(module, attention, lambda: last[0].logits)
