"""Networks that come with regard: run folders inside the package, so that everything works offline at once.

Each has a card, `README.md`, beside its weights: data, recipe, score, limits, and how to make it again. Weights are
stored in float16 and computed with in float32.
"""

from pathlib import Path

HOME = Path(__file__).parents[1] / "weights"

SHIPPED = {"pets-tiny": "37 breeds of cats and dogs; ViT-Tiny/16 at 224 pixels, fine-tuned by regard itself"}
"""Name and one line about each classifier."""

CAPTIONERS = {
    "scenes-captioner": "describes drawn scenes; seven blocks of pets-tiny and a decoder of four layers, trained by "
    "regard itself"
}
"""Name and one line about each captioner."""
LICENCES = {"pets-tiny": "apache-2.0", "scenes-captioner": "apache-2.0"}
"""The licence of each one's weights, as the hub writes it, from its card."""


def folder_of(model: Path | str) -> Path:
    """The run folder that a shipped name stands for; any other path is its own."""
    shipped = str(model) in SHIPPED or str(model) in CAPTIONERS
    return HOME / model if shipped and not Path(model).exists() else Path(model)
