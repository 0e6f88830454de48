"""Drawn scenes: pictures whose content is known exactly, with masks of every part, and no download.

sample(seed) → Scene (facts) → render(scene, without=..., background=...) → Rendering (picture, masks)
captions(scene) → SceneCaption (words with their regions); judge(text, scene) → what of any sentence is true
write_scenes(n, out) → a folder that `regard train` reads
"""

from regard.scenes.animals import ANIMALS
from regard.scenes.captions import CaptionWord, SceneCaption, captions
from regard.scenes.facts import (
    COLOURS,
    GROUNDS,
    PATTERNS,
    RELATIONS,
    SKIES,
    Item,
    Scene,
    relation,
    relations,
)
from regard.scenes.folder import read_scene_captions, read_scenes, write_scenes
from regard.scenes.judging import JudgedWord, judge
from regard.scenes.lexicon import LEXICON
from regard.scenes.render import BACKGROUNDS, Rendering, render
from regard.scenes.sampling import sample
from regard.scenes.things import THINGS

__all__ = [
    "ANIMALS",
    "BACKGROUNDS",
    "COLOURS",
    "GROUNDS",
    "LEXICON",
    "PATTERNS",
    "RELATIONS",
    "SKIES",
    "THINGS",
    "CaptionWord",
    "Item",
    "JudgedWord",
    "Rendering",
    "Scene",
    "SceneCaption",
    "captions",
    "judge",
    "read_scene_captions",
    "read_scenes",
    "relation",
    "relations",
    "render",
    "sample",
    "write_scenes",
]
