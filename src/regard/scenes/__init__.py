"""Drawn scenes: pictures whose content is known exactly, with masks of every part, and no download.

sample(seed) → Scene (facts) → render(scene, without=..., background=...) → Rendering (picture, masks)
with_ground, with_animal, without_parts → the same scene, drawn otherwise
captions(scene) → SceneCaption (words with their regions); judge(text, scene) → what of any sentence is true
write_scenes(n, out, bias=...) → a folder that `regard train` reads
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
from regard.scenes.planted.bias import GROUND_OF
from regard.scenes.planted.counterfactuals import other_grounds, with_animal, with_ground, without_parts
from regard.scenes.render import BACKGROUNDS, VERSION, Rendering, render
from regard.scenes.sampling import sample
from regard.scenes.things import THINGS

__all__ = [
    "ANIMALS",
    "BACKGROUNDS",
    "COLOURS",
    "GROUNDS",
    "GROUND_OF",
    "LEXICON",
    "PATTERNS",
    "RELATIONS",
    "SKIES",
    "THINGS",
    "VERSION",
    "CaptionWord",
    "Item",
    "JudgedWord",
    "Rendering",
    "Scene",
    "SceneCaption",
    "captions",
    "judge",
    "other_grounds",
    "read_scene_captions",
    "read_scenes",
    "relation",
    "relations",
    "render",
    "sample",
    "with_animal",
    "with_ground",
    "without_parts",
    "write_scenes",
]
