"""What can be asked of a job, with its bounds: a request is checked by these before anything is done for it."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Small = Annotated[int, Field(ge=0, le=1000)]
Text = Annotated[str, Field(max_length=200)]
Names = Annotated[
    list[Text],
    BeforeValidator(lambda value: value.split(",") if isinstance(value, str) else value),
    Field(min_length=1, max_length=16, description="Methods that /api/methods lists; in a form with commas between."),
]

Level = Literal["quick", "full"]
CHECK = "how far the picture supports each word, by 3 passes more (quick) or many (full)."


class Settings(BaseModel):
    """What all jobs take: one of the server's models, by default the first that can do it."""

    model_config = ConfigDict(extra="forbid")

    model: Text | None = Field(None, description="A name that /api/models lists.")
    name: Text = Field("picture", description="What the picture is called in the answer and in messages.")


class Classify(Settings):
    """The likeliest classes of a picture."""

    top: int = Field(5, ge=1, le=1000, description="How many classes, the likeliest first.")


class Explain(Settings):
    """Maps of a picture, one for each method."""

    method: Names = ["attention"]
    layer: Small | None = Field(None, description="The layer, from 0.")
    head: Small | None = Field(None, description="The head, from 0; by default the mean.")
    query: Text = Field("CLS", description="CLS, or ROW,COLUMN of the patch that looks.")
    start: Small | None = Field(None, description="The first layer that counts.")
    target: Text | Small | None = Field(None, description="A class by name or index; by default the predicted one.")
    against: Text | Small | None = Field(None, description="A class that the target is held against.")
    steps: Annotated[int, Field(ge=1, le=256)] | None = Field(None, description="Steps of an integral.")
    samples: Annotated[int, Field(ge=1, le=256)] | None = Field(None, description="How many samples are drawn.")
    seed: int = Field(0, ge=0, lt=2**32)
    curve: bool = Field(False, description="Also what becomes of the class while patches go, at 20 forwards a map.")


class Inspect(Settings):
    """All that the viewer shows of a picture: see docs/inspections.md."""

    method: Names = ["attention"]
    target: Text | Small | None = Field(None, description="A class beside the predicted one and the runner-up.")
    curve: bool = Field(False, description="Also what becomes of the class while patches go, at 10 forwards a map.")
    check: Level | None = Field(None, description=f"Of a captioner: {CHECK}")


class Describe(Settings):
    """A caption word by word, each with its map."""

    caption: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        None, description="A caption that is aligned instead of one that is made."
    )
    prompt: Annotated[str, Field(max_length=1000)] | None = Field(None, description="What it begins with or answers.")
    method: Text = Field("cross_attention", description="A method of words that /api/methods lists.")
    row: Literal["predicting", "reading"] = "predicting"
    layer: Small | None = None
    head: Small | None = None
    start: Small | None = None
    beams: int = Field(1, ge=1, le=8)
    limit: Annotated[int, Field(ge=1, le=256)] | None = Field(None, description="The most tokens.")
    check: Level | None = Field(None, description=f"Also {CHECK}")


KINDS: dict[str, tuple[type[Settings], tuple[str, ...]]] = {
    "classify": (Classify, ("classification",)),
    "explain": (Explain, ("classification",)),
    "inspect": (Inspect, ("classification", "captioning")),
    "caption": (Describe, ("captioning",)),
}
"""Of each kind of job its settings, and what a model must have been trained for."""
