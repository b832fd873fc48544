"""The encoder table: every row builds, weights load, and what cannot be loaded says so."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mirror.compute import torchvision_shim as compat
from mirror.core.errors import InputError
from mirror.encoders.build import build_encoder, check_width, load_encoder, parameter_hash
from mirror.encoders.table import EncoderRow, find_encoder, read_encoders

TABLE = Path(__file__).resolve().parents[3] / "config" / "encoders.yaml"
ROWS = read_encoders(TABLE)
PUBLISHED = {
    "resnet50": 1024, "phikon": 768, "uni": 1024, "uni2-h": 1536, "virchow": 2560, "virchow2": 2560,
    "h-optimus-0": 1536, "h-optimus-1": 1536, "h0-mini": 768, "gigapath": 1536, "kaiko-s16": 384, "kaiko-s8": 384,
    "kaiko-b16": 768, "kaiko-b8": 768, "kaiko-l14": 1024, "lunit-s8": 384, "lunit-s16": 384,
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_every_row_builds_and_has_its_width(name: str) -> None:
    """On the meta device: arguments, pooling, input size and width are checked without weights."""
    with torch.device("meta"):
        encoder = build_encoder(ROWS[name])
        check_width(encoder, ROWS[name])
    if ROWS[name].pooling == "cls_mean" or ROWS[name].prefix_tokens != 1:
        assert encoder.model.num_prefix_tokens == ROWS[name].prefix_tokens


def test_published_rows_are_there() -> None:
    assert {name: ROWS[name].width for name in PUBLISHED} == PUBLISHED
    gated = {"uni", "uni2-h", "virchow", "virchow2", "h-optimus-0", "h-optimus-1", "h0-mini", "gigapath"}
    assert {name for name in PUBLISHED if ROWS[name].gated} == gated
    assert all("random" in name for name, row in ROWS.items() if row.weights == "random")


def tiny(**changes: object) -> EncoderRow:
    """A small vision transformer with a class token and registers."""
    facts: dict[str, object] = {
        "name": "tiny",
        "timm_id": "hf-hub:nobody/tiny",
        "architecture": "vit_tiny_patch16_224",
        "arguments": {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 3, "reg_tokens": 2},
        "width": 48,
        "input_px": 32,
        "pooling": "cls_mean",
        "prefix_tokens": 3,
        "licence": "none",
        "source": "here",
    }
    facts["arguments"] |= {"num_classes": 0, "global_pool": ""}
    return EncoderRow.model_validate(facts | changes)


@pytest.fixture
def model() -> torch.nn.Module:
    """Weights of `tiny`, another seed than any the code uses."""
    torch.manual_seed(5)
    return build_encoder(tiny()).model


PIXELS = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("form", ["model.safetensors", "pytorch_model.bin", "any.pth", "wrapped.pt", "prefixed.pt"])
def test_local_checkpoints_of_every_form_give_the_model(tmp_path: Path, model: torch.nn.Module, form: str) -> None:
    state = model.state_dict()
    if form.endswith("safetensors"):
        save_file(state, tmp_path / form)
    elif form == "wrapped.pt":
        torch.save({"state_dict": state, "epoch": 3}, tmp_path / form)
    elif form == "prefixed.pt":
        torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / form)
    else:
        torch.save(state, tmp_path / form)
    with torch.inference_mode():
        tokens = model(PIXELS)
        expected = torch.cat([tokens[:, 0], tokens[:, 3:].mean(dim=1)], dim=1)
        for given in (tmp_path / form, tmp_path):
            torch.testing.assert_close(load_encoder(tiny(), given)(PIXELS), expected)
        cls = load_encoder(tiny(pooling="cls", width=24), tmp_path)(PIXELS)
    torch.testing.assert_close(cls, expected[:, :24])


def test_convolutional_features_load_from_the_whole_model(tmp_path: Path) -> None:
    """As resnet50: the checkpoint holds later layers and a classifier that the extractor leaves off."""
    compat.ensure_torchvision()
    import timm

    whole = timm.create_model("resnet10t", pretrained=False).eval()
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    row = EncoderRow(
        name="r", timm_id="resnet10t", arguments={"features_only": True, "out_indices": [3]}, width=256, input_px=64,
        pooling="avg", licence="none", source="here",
    )  # fmt: skip
    pixels = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = whole.forward_intermediates(pixels, indices=[3], intermediates_only=True)[0].mean(dim=(2, 3))
        torch.testing.assert_close(load_encoder(row, tmp_path)(pixels), expected)


def test_the_config_beside_the_weights_goes_before_the_row(
    tmp_path: Path, model: torch.nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    """What the hub's config.json says wins over hub_arguments, and other statistics are warned of."""
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    row = tiny()
    wrong = row.model_copy(update={"arguments": {}, "hub_arguments": {"img_size": 64}})
    beside = {"architecture": row.architecture, "model_args": row.arguments, "pretrained_cfg": {"mean": [0.5] * 3}}
    (tmp_path / "config.json").write_text(json.dumps(beside))
    with caplog.at_level(logging.WARNING), torch.inference_mode():
        torch.testing.assert_close(load_encoder(wrong, tmp_path)(PIXELS), load_encoder(row, tmp_path)(PIXELS))
    assert "mean is (0.485, 0.456, 0.406) in its row and [0.5, 0.5, 0.5] beside the weights" in caplog.text


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, model: torch.nn.Module) -> None:
    state = model.state_dict()
    save_file({k: v for k, v in state.items() if "blocks.1" not in k}, tmp_path / "less.safetensors")
    save_file(state | {"other.weight": torch.zeros(2)}, tmp_path / "more.safetensors")
    save_file(state | {"cls_token": torch.zeros(1, 1, 7)}, tmp_path / "shape.safetensors")
    with pytest.raises(InputError, match=r"12 missing \(blocks.1"):
        load_encoder(tiny(), tmp_path / "less.safetensors")
    with pytest.raises(InputError, match=r"1 unknown \(other.weight"):
        load_encoder(tiny(), tmp_path / "more.safetensors")
    with pytest.raises(InputError, match="do not fit encoder tiny: size mismatch for cls_token"):
        load_encoder(tiny(), tmp_path / "shape.safetensors")
    with pytest.raises(InputError, match="3 checkpoints"):
        load_encoder(tiny(), tmp_path)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="gives 48 features, its row says 50"):
        load_encoder(tiny(width=50), tmp_path)
    with pytest.raises(InputError, match="no checkpoint here"):
        load_encoder(tiny(), tmp_path / "absent.pt")


class Hostile:
    """Runs code when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, model: torch.nn.Module) -> None:
    torch.save({"state_dict": model.state_dict(), "more": Hostile(tmp_path / "ran")}, tmp_path / "hostile.pt")
    with pytest.raises(InputError, match=r"could run code; it was not loaded.*convert it to safetensors"):
        load_encoder(tiny(), tmp_path / "hostile.pt")
    assert not (tmp_path / "ran").exists()
    for content in (b"", b"no checkpoint at all"):
        (tmp_path / "bad.safetensors").write_bytes(content)
        (tmp_path / "bad.pt").write_bytes(content)
        for name in ("bad.safetensors", "bad.pt"):
            with pytest.raises(InputError, match=name):
                load_encoder(tiny(), tmp_path / name)


def test_random_weights_follow_the_seed_alone() -> None:
    row = ROWS["demo-random"]
    state = torch.random.get_rng_state()
    first = parameter_hash(load_encoder(row))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    assert parameter_hash(load_encoder(row)) == first
    assert parameter_hash(load_encoder(row.model_copy(update={"seed": 1}))) != first


def test_a_wrong_table_says_which_row_and_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no encoder named 'unii'.*did you mean uni\?"):
        find_encoder("unii", TABLE)
    common = "{timm_id: resnet10t, licence: x, source: y, "
    cases = {
        "a: " + common + "width: 0}": r"encoders.yaml \(a\): width: .*greater than or equal to 1",
        "a: " + common + "width: 5, wide: 6}": r"wide: Extra inputs",
        "a: {timm_id: 'hf-hub:x/y', width: 5, licence: x, source: y}": "needs its architecture",
        "a: " + common + "width: 5, std: [0, 1, 1]}": "std must be positive",
        "- a": "each top-level key",
        "a: [": "not YAML",
    }
    for text, message in cases.items():
        (tmp_path / "encoders.yaml").write_text(text)
        with pytest.raises(InputError, match=message):
            read_encoders(tmp_path / "encoders.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_encoders(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": {"img_size": 33, "patch_size": 8, "depht": 2}},
        {"architecture": "no_such_model"},
        {"pooling": "cls_mean", "arguments": {"img_size": 32, "patch_size": 8, "num_classes": 0}},
    ],
)
def test_wrong_rows_are_caught_without_weights(changes: dict[str, object]) -> None:
    row = tiny(**changes)
    with pytest.raises(InputError, match="tiny"), torch.device("meta"):
        check_width(build_encoder(row), row)


def test_the_hash_of_a_row_follows_what_shapes_features() -> None:
    row = tiny()
    assert row.model_copy(update={"licence": "other", "gated": True, "name": "b"}).hash == row.hash
    for change in ({"mean": (0.1, 0.2, 0.3)}, {"pooling": "cls"}, {"resize_px": 40}, {"seed": 2}):
        assert row.model_copy(update=change).hash != row.hash
