"""Captioners that are trained here: what they learn from, by hand; whole runs, killed and gone on with; bad input."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from PIL import Image
from tiny_captions import caption_recipe, caption_sides, draw_captioned, run_captions, tiny_captioner
from tiny_training import SMALL
from torch.nn import functional as F

from regard.app.commands.evaluate import evaluate
from regard.app.commands.train import train
from regard.data.hashes import picture_hashes
from regard.data.images.augment import Augmentation, draw, generator
from regard.data.images.decode import open_picture
from regard.data.images.longest_side import LongestSide, stack
from regard.data.layouts import read_pictures
from regard.data.layouts.captions import caption_parts, captions_of, mirrored, read_captioned
from regard.errors import DataError, NetworkError, OutputError, UsageError
from regard.measurement.captions.scoring import stored_evaluation
from regard.networks.captioners.attention import Capture
from regard.networks.captioners.families.catr import Catr, CatrCaptioner, CatrShape
from regard.networks.captioners.families.encoder_decoder import DecoderShape, build_encoder_decoder, new_encoder_decoder
from regard.networks.captioners.load import load_caption_network
from regard.networks.captioners.run import save_captioner
from regard.networks.captioners.trainable import TrainableCaptioner
from regard.networks.load import load
from regard.networks.run import load_run
from regard.results.evaluations import read_caption_evaluation
from regard.training.journal import Progress
from regard.training.loader import Loader
from regard.training.loop import loader_of
from regard.training.objectives import CaptionObjective
from regard.training.optimise import depths, optimiser, trainable_layers
from regard.training.tasks import caption_training


class Killed(BaseException):
    """What no code catches, at a place that the test chooses."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_captioned(tmp_path_factory.mktemp("captioned") / "data")


def drawn(flip: bool):
    return draw(Augmentation(flip=float(flip)), generator(0, 0, 0))


# What is read.


def test_the_layouts_of_captions(tmp_path: Path, data: Path) -> None:
    table = read_captioned(data)
    assert len(table) == 24
    assert table.splits == ("train", "val")
    assert captions_of(table.pictures[0]) == ("a red square on the left", "left, red.")
    names = table.names
    content = {
        "images": [{"id": place, "file_name": str(data.parent / name)} for place, name in enumerate(names)],
        "annotations": [{"image_id": place, "caption": f" number {place} "} for place in range(len(names))],
    }
    (tmp_path / "captions.json").write_text(json.dumps(content), encoding="utf-8")
    folder = read_captioned(tmp_path)
    assert captions_of(folder.pictures[3]) == ("number 3",)
    train_part, val_part = caption_parts(folder, seed=1)
    assert (len(train_part), len(val_part)) == (19, 5)
    assert {*train_part.names, *val_part.names} == set(folder.names)
    assert val_part.names != caption_parts(folder, seed=2)[1].names
    assert val_part.names == caption_parts(folder, seed=1)[1].names


def test_the_layout_of_coco_itself(tmp_path: Path, data: Path) -> None:
    for folder in ("annotations", "val2017"):
        (tmp_path / folder).mkdir()
    shutil.copyfile(data.parent / "images" / "red_left_0.png", tmp_path / "val2017" / "7.png")
    content = {"images": [{"id": 7, "file_name": "7.png"}], "annotations": [{"image_id": 7, "caption": "a square"}]}
    file = tmp_path / "annotations" / "captions_val2017.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    assert read_captioned(file).pictures[0].path == tmp_path / "val2017" / "7.png"
    (tmp_path / "val2017" / "7.png").unlink()
    with pytest.raises(DataError, match=r"there is no picture '7\.png'"):
        read_captioned(file)


def test_left_and_right_are_exchanged_in_whole_words() -> None:
    text = "The left paw, RIGHT of a leftover: rightmost, Left-hand and upright"
    assert mirrored(text) == "The right paw, LEFT of a leftover: leftmost, Right-hand and upright"
    assert mirrored(mirrored(text)) == text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["filename,text", "images/red_left_0.png,x"], "no column 'caption'"),
        (["filename,caption", "images/none.png,x"], "there is no picture 'images/none.png'"),
        (["filename,caption", "images/red_left_0.png,"], "empty caption"),
        (["filename,caption,split", "images/red_left_0.png,a,train", "images/red_left_0.png,b,val"], "one split"),
        (["filename,caption"], "no rows"),
    ],
)
def test_tables_that_are_amiss(rows: list[str], message: str, data: Path) -> None:
    table = data.parent / "wrong.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_captioned(table)


def test_json_without_captions_says_what_it_has(tmp_path: Path, data: Path) -> None:
    file = tmp_path / "odd.json"
    image = str(data.parent / "images/red_left_0.png")
    found = {"images": [{"id": 1, "file_name": image}], "annotations": [{"image_id": 1, "text": "a square"}]}
    file.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(DataError, match=r"without a caption; its annotations have image_id, text"):
        read_captioned(file)
    with pytest.raises(DataError, match=r"neither captions\.json nor index\.csv"):
        read_captioned(tmp_path)
    with pytest.raises(DataError, match="there is no"):
        read_captioned(tmp_path / "none.csv")


# What is learned.


def test_padding_counts_nothing_in_loss_and_accuracy() -> None:
    """Two captions of 2 and 4 tokens, against each alone and unpadded."""
    objective = CaptionObjective(
        [[((5, 3), (5, 3))], [((4, 4, 6, 3), (4, 4, 6, 3))]], start=2, vocabulary=7, smoothing=0.1
    )
    targets = objective.collate([objective.target(0, 0, drawn(False)), objective.target(1, 0, drawn(False))])
    assert targets.tolist() == [[5, 3, -1, -1], [4, 4, 6, 3]]
    logits = torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(0))
    losses, right = objective.losses(logits, targets)
    for row, length in ((0, 2), (1, 4)):
        alone = F.cross_entropy(logits[row, :length], targets[row, :length], label_smoothing=0.1, reduction="sum")
        assert losses[row].item() == pytest.approx(alone.item(), rel=1e-6)
        assert right[row] == (logits[row, :length].argmax(1) == targets[row, :length]).sum()
    assert objective.weight([0, 1], 0) == 6

    class Sees(torch.nn.Module):
        def forward(self, pixels: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
            self.tokens = tokens
            return torch.zeros(*tokens.shape, 7)

    module = Sees()
    objective.logits(module, (torch.zeros(2, 3, 8, 8),), targets)
    assert module.tokens.tolist() == [[2, 5, 3, 0], [2, 4, 4, 6]]


def test_each_epoch_chooses_one_caption_and_a_mirror_image_has_its_own() -> None:
    objective = CaptionObjective([[((1,), (2,)), ((3,), (4,)), ((5,), (6,))]], start=0, vocabulary=9, seed=3)
    chosen = [int(objective.target(0, epoch, drawn(False))[0]) for epoch in range(60)]
    flipped = [int(objective.target(0, epoch, drawn(True))[0]) for epoch in range(60)]
    assert {*chosen} == {1, 3, 5}
    assert flipped == [token + 1 for token in chosen]
    first = CaptionObjective(objective.captions, 0, 9, choose=False)
    assert {int(first.target(0, epoch, drawn(False))[0]) for epoch in range(9)} == {1}


def test_a_flipped_picture_is_taught_with_sides_exchanged(data: Path) -> None:
    """In a loader that always flips, a square that is drawn on the left is seen, and said to be, on the right."""
    training, _ = caption_sides(data)
    recipe = caption_recipe(flip=1.0, fit="squash")
    captioner = tiny_captioner(training, recipe)
    objective = caption_training.objective_of(captioner, training, recipe.settings, 0)
    session = type("Session", (), {"seed": 0, "workers": 0, "world": caption_training.join("cpu"), "ranks": None})()
    loader = loader_of(training, objective, captioner.preparation, recipe.settings, session)
    for step in loader.steps(1):
        for pixels, target in zip(step.batches[0].pixels, step.batches[0].targets, strict=True):
            square = pixels[16].float().std(-1) > 20  # (columns,) of the middle row: where it is coloured
            side = "right" if square[16:].sum() > square[:16].sum() else "left"
            text = captioner.text([int(token) for token in target if token >= 0])
            assert side in text.replace(",", "").split()


def test_the_vocabulary_has_every_word_and_its_mirror_image(tmp_path: Path, data: Path) -> None:
    training, _ = caption_sides(data)
    vocabulary = caption_training.vocabulary_of(training, caption_recipe().settings)
    assert vocabulary.pieces[:4] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    assert {*vocabulary.pieces[4:]} == {
        *["a", "red", "green", "blue", "square", "on", "the", "left", "right", "##,", "##."]
    }
    assert vocabulary.pieces[4:6] == ("left", "right")  # in both captions of half the pictures, and of the other half
    only_left = training.select(k for k, picture in enumerate(training.pictures) if "left" in picture.name)
    assert "right" in caption_training.vocabulary_of(only_left, caption_recipe().settings).tokens
    with pytest.raises(DataError, match="give a lower --least"):
        caption_training.vocabulary_of(training, caption_recipe(least=10_000).settings)
    assert len(caption_training.vocabulary_of(training, caption_recipe(vocabulary="bert").settings)) == 30522


def test_captions_that_are_not_english(tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Kept as written by a vocabulary of one's own, through the run's folder; what BERT's pieces do is said."""
    training, _ = caption_sides(data)
    texts = ["Rötliches Quadrat, links.", "จุดสีแดง", "红色方块在左边。", "مربع أحمر على اليسار؟"]
    pictures = tuple(
        replace(picture, annotations=({"caption": texts[place % len(texts)]},))
        for place, picture in enumerate(training.pictures)
    )
    foreign = replace(training, pictures=pictures)
    with caplog.at_level("INFO", logger="regard"):
        captioner = tiny_captioner(foreign, caption_recipe(longest=24))
        assert "give --flip 0" in caplog.text
        caplog.clear()
        caption_training.vocabulary_of(foreign, caption_recipe(vocabulary="bert", flip=0.0).settings)
        assert "--vocabulary own keeps the letters" in caplog.text and "--flip" not in caplog.text
        caplog.clear()
        caption_training.vocabulary_of(training, caption_recipe(vocabulary="bert").settings)
        assert not caplog.text
    again = load_caption_network(str(save_captioner(captioner, tmp_path / "run")))
    assert isinstance(again, TrainableCaptioner) and again.vocabulary.pieces == captioner.vocabulary.pieces
    for text in texts:
        assert again.text(again.tokenize(text)) == text
    description = json.loads((tmp_path / "run" / "model.json").read_text(encoding="utf-8"))
    del description["vocabulary"]  # as earlier versions wrote it: by BERT's rules
    (tmp_path / "run" / "model.json").write_text(json.dumps(description), encoding="utf-8")
    older = load_caption_network(str(tmp_path / "run"))
    assert older.text(older.tokenize("Rötliches")) == "[UNK]"
    (tmp_path / "run" / "model.json").write_text(json.dumps({**description, "vocabulary": "x"}), encoding="utf-8")
    with pytest.raises(NetworkError, match=r"kind 'x'.* update regard"):
        load_caption_network(str(tmp_path / "run"))


def test_the_encoder_has_its_share_of_the_rate_and_can_be_frozen(data: Path) -> None:
    training, _ = caption_sides(data)
    recipe = caption_recipe(encoder_rate=0.1, layer_decay=0.5)
    captioner = tiny_captioner(training, recipe)
    found = depths(captioner)
    assert found["encoder.patch_embed.proj.weight"] == 0
    assert found["encoder.blocks.1.mlp.fc1.weight"] == 2
    assert found["speech.head.weight"] == found["encoder.norm.weight"] == 3
    shares = {group["share"] for group in optimiser(captioner, recipe.settings).param_groups}
    assert shares == {1.0, 0.1, 0.05, 0.025}
    with trainable_layers(captioner, 0):
        learn = {name for name, value in captioner.module.named_parameters() if value.requires_grad}
    assert learn == {name for name in found if name.startswith("speech.")}


def test_a_feed_of_pictures_of_several_shapes_is_padded_and_masked(tmp_path: Path) -> None:
    """What the feed gives CATR is what `stack` makes of the pictures alone."""
    preparation, shapes = LongestSide(40), ((40, 30), (20, 40), (32, 32))
    paths = [tmp_path / f"{place}.png" for place in range(len(shapes))]
    random = default_rng(0)
    for path, (height, width) in zip(paths, shapes, strict=True):
        Image.fromarray(random.integers(0, 255, (height, width, 3), np.uint8)).save(path)
    objective = CaptionObjective([[((place, 3), (place, 3))] for place in range(3)], start=2, vocabulary=9)
    loader = Loader(read_pictures(paths).pictures, objective, preparation, Augmentation(), 3, workers=0)
    (batch,) = next(iter(loader.steps(1))).batches
    planes, mask = loader.inputs(batch, torch.device("cpu"))
    order = [int(target[0]) for target in batch.targets]
    wanted, wanted_mask = stack([preparation.tensor(open_picture(paths[place])) for place in order], padded=True)
    assert planes.shape == (3, 3, 40, 40)
    assert torch.equal(mask, wanted_mask)
    torch.testing.assert_close(planes, wanted, atol=1e-6, rtol=0)


# Whole runs.


@pytest.fixture(scope="module")
def learned(data: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("runs") / "learned"
    recipe = caption_recipe(epochs=60, smoothing=0.0, average="none", learning_rate=3e-3, encoder_rate=1.0)
    return (*run_captions(data, folder, recipe), folder)


def test_a_captioner_learns_colours_and_sides(learned, data: Path) -> None:
    """Pictures that it was not trained on are described rightly; half of all training pictures came mirrored."""
    captioner, outcome, _ = learned
    _, validation = caption_sides(data)
    said = captioner.generate([captioner.prepare(open_picture(each.opener)) for each in validation.pictures])
    right = [
        captioner.text(each.tokens) in captions_of(picture)
        or captioner.text(each.tokens).replace(" ,", ",") in captions_of(picture)
        for each, picture in zip(said, validation.pictures, strict=True)
    ]
    assert sum(right) >= 5, [captioner.text(each.tokens) for each in said]
    assert outcome.metrics[-1]["validation_loss"] < 0.6
    assert outcome.metrics[0]["training_loss"] > 1


def test_a_run_is_loaded_and_says_the_same(learned, data: Path) -> None:
    captioner, _, folder = learned
    again = load_caption_network(folder)
    assert again.vocabulary.pieces == captioner.vocabulary.pieces
    assert again.weights_hash() == captioner.weights_hash()
    picture = captioner.prepare(open_picture(caption_sides(data)[1].pictures[0].opener))
    one, two = (each.generate([picture], capture=Capture(None, None))[0] for each in (captioner, again))
    assert one.tokens == two.tokens
    assert torch.equal(one.attention, two.attention)
    assert one.attention.shape == (2, 2, len(one.tokens) + 1, 4, 4)
    forced = captioner.teacher_force([picture], [one.tokens], capture=Capture(None, None))[0]
    torch.testing.assert_close(forced.attention, one.attention, atol=1e-5, rtol=0)
    with pytest.raises(NetworkError, match="regard caption"):
        load_run(folder)


@pytest.mark.parametrize(
    ("step", "overrides"),
    [
        (0, {}),
        (4, {"drop_path": 0.1, "brightness": 0.2}),
        (7, {"keep": "best", "patience": 2, "average": "none"}),
        (2, {"accumulate": 2, "batch_size": 4, "average": "swa"}),
        (5, {"open_layers": 0, "optimiser": "sgd", "momentum": 0.9}),
    ],
    ids=["ema", "drop path", "best", "accumulated", "frozen encoder"],
)
def test_killed_at_a_step_and_gone_on_with(step: int, overrides: dict, data: Path, tmp_path: Path) -> None:
    """The same bytes, with dropout, flips and the choice among captions on; with and without threads."""
    recipe = caption_recipe(**overrides)
    run_captions(data, tmp_path / "whole", recipe, workers=0)
    calls = iter(range(step + 1))

    def report(progress: Progress) -> None:
        if next(calls) == step:
            raise Killed

    with pytest.raises(Killed):
        run_captions(data, tmp_path / "killed", recipe, every=1 + step % 3, workers=2, progress=report)
    run_captions(data, tmp_path / "killed", recipe, workers=0, resume=True)
    for name in ("model.safetensors", "metrics.jsonl", "split.csv", "vocabulary.txt"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_training_that_an_earlier_version_began_goes_on(data: Path, tmp_path: Path) -> None:
    """It stored six settings of classifiers with a captioner's, at their defaults."""
    recipe, folder = caption_recipe(), tmp_path / "run"
    run_captions(data, tmp_path / "whole", recipe)

    def report(progress: Progress) -> None:
        if progress.done == 2:
            raise Killed

    with pytest.raises(Killed):
        run_captions(data, folder, recipe, every=1, progress=report)
    identity = json.loads((folder / "checkpoint" / "run.json").read_text(encoding="utf-8"))
    identity["recipe"] |= {
        "class_weights": "none",
        "search": "few",
        "few": 1000,
        "folds": 3,
        "mix": 1.0,
        "head": "probe",
    }
    (folder / "checkpoint" / "run.json").write_text(json.dumps(identity), encoding="utf-8")
    run_captions(data, folder, recipe, resume=True)
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_killed_between_training_and_its_report(data: Path, tmp_path: Path) -> None:
    """The weights come from the checkpoint; nothing is trained again."""
    recipe, folder, phases = caption_recipe(), tmp_path / "run", []
    whole, _ = run_captions(data, tmp_path / "whole", recipe)
    run_captions(data, folder, recipe, save=False)
    again, _ = run_captions(data, folder, recipe, resume=True, progress=lambda progress: phases.append(progress.phase))
    assert phases == []
    assert again.weights_hash() == whole.weights_hash()


def test_a_frozen_encoder_stays_as_it_was(data: Path, tmp_path: Path) -> None:
    recipe = caption_recipe(open_layers=0)
    before = tiny_captioner(caption_sides(data)[0], recipe).module.state_dict()
    after = run_captions(data, tmp_path / "run", recipe)[0].module.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and all(name.startswith("speech.") for name in moved)


def test_a_runs_recipe_does_it_again(data: Path, tmp_path: Path) -> None:
    options = {"epochs": 1, "decoder_layers": 1, "decoder_width": 24, "decoder_heads": 2, "encoder_layers": 1}
    train(data, tmp_path / "run", task="caption", precision="float32", batch_size=8, **options)
    train(data, tmp_path / "again", recipe=tmp_path / "run" / "recipe.json")
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "again"))
    assert one == two
    on = train(data, tmp_path / "on", task="caption", model=tmp_path / "run", epochs=1, precision="float32")
    assert load_caption_network(on.out).vocabulary.pieces == load_caption_network(tmp_path / "run").vocabulary.pieces
    with pytest.raises(UsageError, match=r"its own, which --decoder-layers cannot change"):
        train(data, tmp_path / "wrong", task="caption", model=tmp_path / "run", decoder_layers=2)
    with pytest.raises(UsageError, match=r"its own, which --size cannot change"):
        train(data, tmp_path / "wrong", task="caption", model=tmp_path / "run", size=64)
    with pytest.raises(UsageError, match=r"its own, which --encoder-layers cannot change"):
        train(data, tmp_path / "wrong", task="caption", model="catr", encoder_layers=2)
    assert not (tmp_path / "wrong").exists()


def test_evaluate_scores_a_captioner(learned, data: Path, tmp_path: Path) -> None:
    _, _, folder = learned
    found = evaluate(data, folder, out=tmp_path / "scored")
    assert found.evaluation.n == 6
    assert found.evaluation.scores["exact"].value >= 5 / 6 - 1e-9
    assert read_caption_evaluation(tmp_path / "scored").captions == found.evaluation.captions
    seen = evaluate(data, folder, split="train")
    assert (seen.evaluation.n, seen.evaluation.note) == (18, "seen in training")
    for wrong, words in (
        ({"task": "classify"}, "a run of captioning, which --task classify does not fit"),
        ({"threshold": 0.0}, "--threshold cannot be used with captions"),
        ({"label": "kind"}, "--label cannot be used with captions"),
    ):
        with pytest.raises(UsageError, match=words):
            evaluate(data, folder, **wrong)


def test_other_captions_between_kill_and_resume_are_named(data: Path, tmp_path: Path) -> None:
    def report(progress: Progress) -> None:
        raise Killed

    with pytest.raises(Killed):
        run_captions(data, tmp_path / "run", caption_recipe(), every=1, progress=report)
    changed = data.with_name("changed.csv")
    changed.write_text(data.read_text(encoding="utf-8").replace("a blue square", "one blue square", 1), "utf-8")
    with pytest.raises((DataError, UsageError), match="captions"):
        run_captions(changed, tmp_path / "run", caption_recipe(), resume=True)


def test_the_command_leaves_a_run_with_scores_and_report(data: Path, tmp_path: Path) -> None:
    options = {"epochs": 1, "decoder_layers": 1, "decoder_width": 24, "decoder_heads": 2, "encoder_layers": 1}
    run = train(data, tmp_path / "run", task="caption", model="pets-tiny", precision="float32", batch_size=8, **options)
    assert run.evaluation.n == 6
    assert set(run.evaluation.scores) == {"bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider", "exact"}
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8").count("<img") >= 6
    stored = stored_evaluation(tmp_path / "run")
    assert stored.captions == run.evaluation.captions
    again = train(data, tmp_path / "run", task="caption", precision="float32", batch_size=8, resume=True, **options)
    assert again.evaluation.captions == run.evaluation.captions
    captioner = load_caption_network(tmp_path / "run")
    assert len(captioner.anatomy.blocks) == 1
    assert captioner.preparation.mode == "squash"


def test_catr_is_trained_by_the_same_loop(data: Path, tmp_path: Path) -> None:
    training, validation = caption_sides(data)
    recipe = caption_recipe(epochs=2, layer_decay=1.0)
    vocabulary = caption_training.vocabulary_of(training, recipe.settings)
    shape = CatrShape(
        width=16, heads=2, feedforward=16, encoder_layers=1, decoder_layers=1, vocabulary=len(vocabulary), positions=9,
        hidden=16, blocks=(1, 1, 1, 1), bottleneck=4, start=vocabulary.start, stop=vocabulary.stop,
    )  # fmt: skip
    torch.manual_seed(0)
    captioner = CatrCaptioner(Catr(shape), vocabulary=vocabulary, preparation=LongestSide(64))
    before = captioner.weights_hash()
    hashes = picture_hashes([*training.pictures, *validation.pictures])
    outcome = caption_training.run(captioner, training, validation, hashes, recipe, tmp_path / "run", workers=0)
    losses = [row["training_loss"] for row in outcome.metrics if row["phase"] == "train"]
    assert losses[1] < losses[0]
    assert captioner.weights_hash() != before
    with pytest.raises(UsageError, match="sees pictures whole"):
        caption_training.run(captioner, training, validation, hashes, caption_recipe(rotate=5.0), tmp_path / "two")


# Bad input.


def test_what_cannot_be_trained_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--class-weights is for classifiers"):
        caption_recipe(class_weights="balanced")
    with pytest.raises(UsageError, match="--decoder-width is for captioners; give --task caption"):
        train(data, tmp_path / "run", decoder_width=64)
    with pytest.raises(UsageError, match="multiple of 4 and of --decoder-heads"):
        caption_recipe(decoder_width=30, decoder_heads=4)
    with pytest.raises(UsageError, match="is for classify, not for --task caption"):
        train(data, tmp_path / "run", recipe="dlcv", task="caption")
    with pytest.raises(UsageError, match="unknown task 'captions'; did you mean 'caption'"):
        train(data, tmp_path / "run", task="captions")
    with pytest.raises(UsageError, match="--label, --slice and --masks"):
        train(data, tmp_path / "run", task="caption", slices=["x"])
    with pytest.raises(DataError, match=r"has a caption of 7 tokens.*at most 4.*higher --longest"):
        run_captions(data, tmp_path / "run", caption_recipe(longest=4, overlong="refuse"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(OutputError):
        train(data, tmp_path / "full", task="caption")


def test_captions_that_are_too_long_are_left_out_or_cut_and_named(data: Path) -> None:
    training, _ = caption_sides(data)
    first, second, *rest = training.pictures
    long = "a red square " * 5
    pictures = (
        replace(first, annotations=({"caption": long}, *first.annotations)),
        replace(second, annotations=({"caption": long},)),
        *rest,
    )
    with_long = replace(training, pictures=pictures)
    captioner = tiny_captioner(with_long, caption_recipe())
    fitting = caption_training.fitting
    assert fitting(captioner, training, "leave-out") == (training, "")
    left, message = fitting(captioner, with_long, "leave-out")
    assert [picture.name for picture in left.pictures] == [picture.name for picture in (first, *rest)]
    assert captions_of(left.pictures[0]) == captions_of(first)
    assert message.startswith("2 captions are too long and left out, with 1 picture that has no other ('images/")
    assert f"{first.name!r}, {second.name!r}): {first.name} has a caption of 16 tokens" in message
    part, message = fitting(captioner, with_long, "cut")
    assert message.startswith("2 captions are too long and cut ('images/")
    cut = caption_training.objective_of(captioner, part, caption_recipe().settings, 0)
    tokens = cut.captions[0][0][0]
    assert len(tokens) == captioner.limit == 8 and captioner.text(tokens) == "a red square a red square a"
    with pytest.raises(DataError, match=r"has a caption of 16 tokens.*--overlong leave-out or cut"):
        fitting(captioner, with_long, "refuse")
    with pytest.raises(DataError, match=r"higher --longest, or --overlong cut"):
        fitting(captioner, with_long.select([1]), "leave-out")


def test_a_training_with_one_caption_too_long_is_finished(data: Path, tmp_path: Path) -> None:
    """Through the command; a picture set aside that has no shorter one is still captioned and scored."""
    table = data.parent / "long.csv"
    lines = data.read_text(encoding="utf-8").splitlines()
    for name in ("images/red_left_0.png", "images/red_left_1.png"):  # one set aside, one to train on
        split = "val" if name.endswith("_0.png") else "train"
        lines = [line for line in lines if name not in line] + [f"{name},{'a red square ' * 5},{split}"]
    table.write_text("\n".join(lines), encoding="utf-8")
    _, outcome = run_captions(table, tmp_path / "run", caption_recipe(epochs=1))
    assert outcome.metrics[-1]["phase"] == "result"
    assert [message[:37] for message in outcome.messages] == ["1 caption is too long and left out, w"] * 2
    rows = (tmp_path / "run" / "split.csv").read_text(encoding="utf-8")
    assert rows.count(",val,") == 6 and "red_left_0" in rows and "red_left_1" not in rows


def test_encoders_that_cannot_see_patches_are_named() -> None:
    shape = DecoderShape(9, 2, 3, 16, 2, 1, 8)
    resnet = load("random:resnet18", classes=2)
    with pytest.raises(NetworkError, match="no grid of patches"):
        new_encoder_decoder(resnet, shape)
    vit = load("random:vit_tiny_patch16_224", classes=2, arguments=SMALL)
    with pytest.raises(UsageError, match="at most 2"):
        new_encoder_decoder(vit, shape, layers=3)
    with pytest.raises(NetworkError, match="must be"):
        new_encoder_decoder(load("random:vit_b_16", classes=2), shape)
    with pytest.raises(NetworkError, match="no describer can be built"):
        build_encoder_decoder({"kind": "describer", "arguments": {"encoder": {}, "decoder": {"width": 3}}})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"heads": 0}, "heads is 0"),
        ({"positions": -3}, "positions is -3"),
        ({"positions": 10**13}, r"has a size of 1e\+13"),  # more than its weights can fill
        ({"width": "192"}, "width is '192'"),
        ({"start": 999}, "start 999 or stop 3 is not among"),
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"colour": 1}, "unexpected keyword"),
    ],
)
def test_a_strangers_description_is_one_clear_error(changed: dict, words: str, learned, tmp_path: Path) -> None:
    _, _, folder = learned
    copy = shutil.copytree(folder, tmp_path / "copy")
    description = json.loads((copy / "model.json").read_text(encoding="utf-8"))
    description["architecture"]["arguments"]["decoder"] |= changed
    (copy / "model.json").write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(NetworkError, match=words):
        load_caption_network(copy)
    with pytest.raises(UsageError, match="blocks"):
        CatrShape(blocks=(1,))  # type: ignore[arg-type]


def test_parts_that_only_a_head_would_use_are_taken_out() -> None:
    """They would never get a gradient, which several processes do not forgive."""
    average = load("random:vit_tiny_patch16_224", classes=2, arguments={**SMALL, "global_pool": "avg"})
    module, architecture = new_encoder_decoder(average, DecoderShape(9, 2, 3, 16, 2, 1, 8))
    module(torch.randn(2, 3, 32, 32), torch.randint(0, 9, (2, 4))).sum().backward()
    assert [name for name, value in module.named_parameters() if value.grad is None] == []
    again = build_encoder_decoder(architecture)
    assert again.state_dict().keys() == module.state_dict().keys()


def test_groups_on_both_sides_of_the_users_split_are_named(tmp_path: Path, data: Path) -> None:
    rows = ["filename,caption,split,animal"]
    rows += [
        f"images/red_left_{place}.png,a square,{split},tom" for place, split in enumerate(("train", "train", "val"))
    ]
    table = data.parent / "grouped.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(DataError, match="'tom'"):
        caption_parts(read_captioned(table), group="animal")


def test_every_value_of_a_new_describer_is_from_the_seed() -> None:
    vit = load("random:vit_tiny_patch16_224", classes=2, arguments=SMALL)
    shape = DecoderShape(9, 2, 3, 16, 2, 1, 8)
    one, two, three = (new_encoder_decoder(vit, shape, 1, seed)[0] for seed in (4, 4, 5))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.speech.head.weight, three.speech.head.weight)
    assert torch.equal(one.encoder.blocks[0].mlp.fc1.weight, vit.module.blocks[0].mlp.fc1.weight)
    x = torch.from_numpy(default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32))
    assert one.encode(x).shapes == ((4, 4),)


def test_a_captioner_is_trained_on_all_pictures_without_a_score(data: Path, tmp_path: Path) -> None:
    """The same command with --resume finds it finished, and no score either."""
    tiny = {
        "encoder_layers": 1,
        "decoder_layers": 1,
        "decoder_width": 16,
        "decoder_heads": 2,
        "epochs": 1,
        "workers": 0,
    }
    more = {"task": "caption", "model": "random:vit_tiny_patch16_224", "size": 32, "split": "all", "val": 0, **tiny}
    assert train(data, tmp_path / "run", **more).evaluation is None
    assert ",val," not in (tmp_path / "run" / "split.csv").read_text(encoding="utf-8")
    assert not (tmp_path / "run" / "evaluation").exists() and (tmp_path / "run" / "report.html").is_file()
    assert train(data, tmp_path / "run", **more, resume=True).evaluation is None
    with pytest.raises(UsageError, match="--keep best chooses on pictures set aside, and there are none"):
        train(data, tmp_path / "best", **more, keep="best")
