"""A CLIP is used only if weights, tokenizer and image processor are whole and of one model."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, CLIPModel, CLIPTokenizer

from geoloc.image_text.folder import load_clip
from geoloc.image_text.tokenizer import train_tokenizer
from geoloc.image_text.training import train_clip
from geoloc.image_text.zero_shot import ClipZeroShot, check_classes
from tests.image_text.test_clip import NAMES, TINY, Squares, photographs  # noqa: F401  a fixture

COUNTRIES = list(NAMES.values())


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "clip"
    train_clip(folder, Squares(24, 1), Squares(12, 2), NAMES, replace(TINY, epochs=2))
    return folder


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    """A copy to damage."""
    return shutil.copytree(trained, tmp_path / "clip")


def change_weights(folder: Path, change) -> None:
    state = load_file(folder / "model.safetensors")
    save_file(change(state), folder / "model.safetensors", {"format": "pt"})


def change_json(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_weights_that_the_training_did_not_write_are_refused(folder):
    check_classes(folder, NAMES)
    change_weights(folder, lambda state: state | {"logit_scale": state["logit_scale"] + 1})
    with pytest.raises(OSError, match="its model.safetensors is not the file that its training"):
        check_classes(folder, NAMES)


def in_vocabulary_files(folder: Path) -> None:
    """The tokenizer as older versions saved it."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = ["#version: 0.2", *map(" ".join, model["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    (folder / "tokenizer.json").unlink()


def in_shards(folder: Path) -> dict[str, torch.Tensor]:
    """The weights in two files and an index."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(state)
    files = {"model-1.safetensors": names[:20], "model-2.safetensors": names[20:]}
    for file, part in files.items():
        save_file({name: state[name] for name in part}, folder / file, {"format": "pt"})
    index = {name: file for file, part in files.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return state


def with_position_ids(state: dict) -> dict:
    """As StreetCLIP and OpenAI's models are published: saved before transformers 4.31."""
    tokens, patches = (
        len(state[f"{tower}_model.embeddings.position_embedding.weight"])
        for tower in ("text", "vision")
    )
    return state | {
        "text_model.embeddings.position_ids": torch.arange(tokens)[None],
        "vision_model.embeddings.position_ids": torch.arange(patches)[None],
    }


def with_an_old_preprocessor(folder: Path) -> None:
    """As OpenAI's models are published."""
    content = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    content.pop("image_processor_type")
    content |= {"feature_extractor_type": "CLIPFeatureExtractor", "crop_size": 32, "size": 32}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    (folder / "processor_config.json").unlink()


FORMS = {
    "vocabulary": in_vocabulary_files,
    "shards": in_shards,
    "position ids": lambda folder: change_weights(folder, with_position_ids),
    "dtype": lambda folder: change_json(
        folder / "config.json", lambda c: c.update(dtype="float16")
    ),
    "preprocessor": with_an_old_preprocessor,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_that_a_clip_is_published_in_gives_the_same_numbers(
    trained,
    folder,
    form,
    photographs,  # noqa: F811
):
    FORMS[form](folder)
    expected = ClipZeroShot(trained, COUNTRIES, device="cpu").probabilities(photographs)
    found = ClipZeroShot(folder, COUNTRIES, device="cpu").probabilities(photographs)
    assert np.array_equal(found, expected)


def test_weights_of_half_precision_are_computed_with_in_float32(folder):
    halves = {n: x.half() for n, x in load_file(folder / "model.safetensors").items()}
    change_weights(folder, lambda _: halves)
    network, _ = load_clip(folder)
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, halves[name].float())


def test_the_loaded_network_is_the_one_of_transformers(trained):
    ours, theirs = load_clip(trained)[0], CLIPModel.from_pretrained(trained)
    assert not ours.training
    assert ours.config._attn_implementation == theirs.config._attn_implementation
    for (name, mine), (_, other) in zip(ours.named_buffers(), theirs.named_buffers(), strict=True):
        assert torch.equal(mine, other), name


def without_text_tower(state):
    return {name: x for name, x in state.items() if not name.startswith("text_model.")}


NOT_A_NUMBER = {"visual_projection.weight": math.nan, "logit_scale": math.inf}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without_text_tower, r"missing: text_model\.emb.*, text_model\.\S+, \S+ and \d+ more"),
        (lambda state: {n: x for n, x in state.items() if n != "logit_scale"}, "missing: logit_s"),
        (
            lambda state: {f"module.{name}": x for name, x in state.items()},
            r"missing: .*unexpected: module\..*save it without the prefix 'module\.'",
        ),
        (lambda state: state | {"head.weight": torch.zeros(2)}, r"unexpected: head\.weight"),
        *(
            (
                lambda state, name=name, x=x: state | {name: torch.full_like(state[name], x)},
                f"not finite: {name}",
            )
            for name, x in NOT_A_NUMBER.items()
        ),
        (
            lambda state: state | {"logit_scale": torch.tensor(3)},
            "of another type: logit_scale torch.int64",
        ),
    ],
)
def test_weights_that_are_not_those_of_the_model_are_refused(folder, change, fault):
    change_weights(folder, change)
    message = rf"clip/model\.safetensors: not the weights of the CLIP of .*{fault}"
    with pytest.raises(OSError, match=message) as error:
        ClipZeroShot(folder, COUNTRIES, device="cpu")
    assert str(error.value).endswith("retrieve or train it again")


@pytest.mark.parametrize(
    ("section", "change", "fault"),
    [
        ("text_config", {"num_hidden_layers": 2}, r"missing: text_model\.encoder\.layers\.1"),
        ("text_config", {"num_hidden_layers": 0}, r"unexpected: text_model\.encoder\.layers\.0"),
        ("vision_config", {"hidden_size": 64}, "of another shape: .* for"),
        ("vision_config", {"image_size": 64}, r"of another shape: vision_model\.embeddings\.pos"),
        ("text_config", {"num_attention_heads": 7}, "config.json describes no CLIP"),
        ("text_config", {"hidden_act": "none"}, "config.json describes no CLIP"),
        ("text_config", {"hidden_size": "large"}, "config.json describes no CLIP"),
    ],
)
def test_a_config_of_another_size_is_refused(folder, section, change, fault):
    change_json(folder / "config.json", lambda config: config[section].update(change))
    with pytest.raises(OSError, match=fault):
        load_clip(folder)


def test_a_shard_without_one_of_its_tensors_is_refused(folder):
    in_shards(folder)
    part = load_file(folder / "model-2.safetensors")
    part.pop("text_projection.weight")
    save_file(part, folder / "model-2.safetensors")
    with pytest.raises(OSError, match=r"index\.json: not .*missing: text_projection\.weight"):
        load_clip(folder)
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(OSError, match=r"model-2\.safetensors: no such file of weights"):
        load_clip(folder)


@pytest.mark.parametrize("names", [None, {"a": "../clip/model-1.safetensors"}, {"a": "m.bin"}])
def test_an_index_of_other_files_is_refused(folder, names):
    in_shards(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    with pytest.raises(OSError, match="no list of safetensors files"):
        load_clip(folder)


@pytest.mark.parametrize(
    ("removed", "named"),
    [
        (["tokenizer.json"], r"tokenizer\.json or vocab\.json and merges\.txt missing"),
        (["tokenizer_config.json"], r"tokenizer_config\.json missing"),
        (["processor_config.json"], r"preprocessor_config\.json or processor_config\.json missing"),
        (["config.json"], r"config\.json missing"),
        (["model.safetensors"], r"model\.safetensors or model\.safetensors\.index\.json missing"),
        (["config.json", "tokenizer.json"], r"config\.json, tokenizer\.json or"),
    ],
)
def test_what_a_folder_lacks_is_named(folder, removed, named):
    for name in removed:
        (folder / name).unlink()
    with pytest.raises(OSError, match=rf"clip: no complete CLIP, {named}") as error:
        ClipZeroShot(folder, COUNTRIES, device="cpu")
    assert str(error.value).endswith("missing; retrieve or train it again")


def test_half_of_a_vocabulary_is_named(folder):
    in_vocabulary_files(folder)
    (folder / "merges.txt").unlink()
    with pytest.raises(OSError, match=r"vocab\.json and merges\.txt missing"):
        load_clip(folder)


def test_pickled_weights_are_not_loaded(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"pytorch_model\.bin is a pickle, which is not loaded"):
        load_clip(folder)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere: no such CLIP folder"):
        load_clip(tmp_path / "nowhere")


def test_a_model_of_another_architecture_is_refused(folder):
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "vocab_size": 9}
    BertModel(BertConfig(**small, intermediate_size=8)).save_pretrained(folder)
    with pytest.raises(OSError, match=r"config\.json: of a model of type 'bert', not 'clip'"):
        load_clip(folder)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "processor_config.json",
             "model.safetensors"],
)  # fmt: skip
@pytest.mark.parametrize(
    "damage", [lambda d: b"", lambda d: d[:90], lambda d: b"\0" * len(d), lambda d: b"[]"]
)
def test_a_damaged_file_is_told_of_in_one_line(folder, name, damage):
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OSError, match=r"clip(/[\w.]+)?: .*(again|folder of a CLIP)$") as error:
        load_clip(folder)
    assert "\n" not in str(error.value)


def test_no_code_of_a_folder_is_run_and_nothing_is_asked(folder, monkeypatch):
    """`auto_map` names a class in a file of the folder; transformers asks whether to trust it."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    (folder / "evil.py").write_text("raise SystemExit('run')")
    code = {"auto_map": {"AutoModel": "evil.E", "AutoTokenizer": ["evil.E", "evil.E"],
                         "AutoProcessor": "evil.E", "AutoImageProcessor": "evil.E"}}  # fmt: skip
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        change_json(folder / name, lambda content: content.update(code))
    assert isinstance(load_clip(folder)[1].tokenizer, CLIPTokenizer)


def test_a_tokenizer_of_another_model_is_refused(folder):
    train_tokenizer(["Chad"]).save_pretrained(folder)
    with pytest.raises(OSError, match=r"its tokenizer has \d+ tokens, its weights have \d+"):
        load_clip(folder)


def test_an_image_processor_of_another_model_is_refused(folder):
    other = {"height": 48, "width": 48}
    path = folder / "processor_config.json"
    change_json(path, lambda c: c["image_processor"].update(crop_size=other))
    with pytest.raises(OSError, match=r"makes \(3, 48, 48\) of an image, its model sees \(3, 32"):
        load_clip(folder)
    right = {"height": 32, "width": 32}
    change_json(path, lambda c: c["image_processor"].update(crop_size=right, do_rescale=False))
    with pytest.raises(OSError, match=r"turns white into 9\d\d, so it does not scale pixels"):
        load_clip(folder)
    change_json(path, dict.clear)
    with pytest.raises(OSError, match="clip: its (tokenizer or )?image processor"):
        load_clip(folder)


def test_texts_that_do_not_fit_into_the_model_are_refused(trained):
    prompt = "a street " * 80 + "in {country}"
    with pytest.raises(ValueError, match=r"in Brazil' has \d+ tokens, the model reads 77: shorten"):
        ClipZeroShot(trained, COUNTRIES, prompt, device="cpu")


def test_texts_that_the_tokenizer_does_not_know_are_refused(folder):
    """A vocabulary of the right size without the letters: everything is the unknown token."""

    def rename(tokenizer):
        model = tokenizer["model"]
        special = {"<|startoftext|>", "<|endoftext|>"}
        model["merges"] = []
        model["vocab"] = {
            name if name in special else f"§{number}": number
            for name, number in model["vocab"].items()
        }

    change_json(folder / "tokenizer.json", rename)
    with pytest.raises(ValueError, match="the tokenizer does not know 'Brazil'"):
        ClipZeroShot(folder, COUNTRIES, device="cpu")


def test_countries_that_are_the_same_to_the_model_are_refused(trained, folder):
    with pytest.raises(ValueError, match="'Brazil' and 'brazil' have the same embedding"):
        ClipZeroShot(trained, ["Namibia", "Brazil", "brazil"], device="cpu")
    # An end that is never found: the embedding of every text is that of its beginning.
    change_json(folder / "config.json", lambda c: c["text_config"].update(eos_token_id=5))
    with pytest.raises(ValueError, match="'Brazil' and 'United Kingdom' have the same embedding"):
        ClipZeroShot(folder, COUNTRIES, device="cpu")


def test_text_embeddings_that_are_not_finite_are_refused(folder):
    change_weights(
        folder, lambda s: s | {"text_projection.weight": s["text_projection.weight"] * 3e38}
    )
    with pytest.raises(ValueError, match="embedding of the text 'Brazil' is not finite"):
        ClipZeroShot(folder, COUNTRIES, device="cpu")
