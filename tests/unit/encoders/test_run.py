"""Running an encoder: the input it sees, batches, lack of memory, precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mirror.compute import torchvision_shim as compat
from mirror.core.errors import InputError
from mirror.encoders.build import PooledEncoder, load_encoder
from mirror.encoders.run import TileEncoder
from mirror.encoders.table import EncoderRow, read_encoders
from mirror.features.read_ahead import AHEAD, ReadAhead

compat.ensure_torchvision()
from torchvision import transforms  # noqa: E402  (needs the line above)

ROWS = read_encoders(Path(__file__).resolve().parents[3] / "config" / "encoders.yaml")
CPU = torch.device("cpu")


def blobs(n: int, side: int, seed: int = 0) -> np.ndarray:
    """Smooth coloured tiles with some noise: (n, side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 9, 9, 3), dtype=np.uint8)
    tiles = np.stack([np.asarray(Image.fromarray(t).resize((side, side), Image.Resampling.BICUBIC)) for t in small])
    return np.clip(tiles + rng.normal(0, 8, tiles.shape), 0, 255).astype(np.uint8)


class Mean(torch.nn.Module):
    """Means of the channels; runs out of memory above a number of tiles."""

    def __init__(self, limit: int = 10**9) -> None:
        super().__init__()
        self.limit, self.sizes = limit, []
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(pixels))
        if len(pixels) > self.limit:
            raise torch.OutOfMemoryError("pretended")
        return pixels.mean(dim=(2, 3)) * self.weight


def runner(row: EncoderRow, model: torch.nn.Module, **options: object) -> TileEncoder:
    return TileEncoder(row, PooledEncoder(model, row), CPU, **options)


@pytest.mark.parametrize("name", ["uni", "virchow", "gigapath", "h-optimus-0", "kaiko-l14", "lunit-s8"])
@pytest.mark.parametrize("side", [256, 224, 512])
def test_the_input_is_what_the_model_cards_transform_gives(name: str, side: int) -> None:
    """Against torchvision on a Pillow image: resize, centre crop, to tensor, normalise."""
    row, tiles = ROWS[name], blobs(2, side)
    how = {"bilinear": transforms.InterpolationMode.BILINEAR, "bicubic": transforms.InterpolationMode.BICUBIC}
    published = transforms.Compose(
        [
            transforms.Resize(row.resize_px or row.input_px, how[row.interpolation]),
            transforms.CenterCrop(row.input_px),
            transforms.ToTensor(),
            transforms.Normalize(row.mean, row.std),
        ]
    )
    expected = torch.stack([published(Image.fromarray(tile)) for tile in tiles])
    ours = runner(row, Mean()).normalise(torch.from_numpy(tiles))
    grey_level = 1 / (255 * min(row.std))
    assert ours.shape == expected.shape and ours.is_contiguous(memory_format=torch.channels_last)
    assert (ours - expected).abs().max() <= 1.01 * grey_level  # libraries round halves differently
    assert (ours - expected).abs().mean() <= 0.02 * grey_level


def test_area_resizing_is_the_mean_of_blocks() -> None:
    row, tiles = ROWS["demo-random"], blobs(1, 256)
    blocks = tiles.reshape(1, 64, 4, 64, 4, 3).mean(axis=(2, 4)) / 255
    expected = (torch.from_numpy(blocks).permute(0, 3, 1, 2) - torch.tensor(row.mean).view(3, 1, 1)) / torch.tensor(
        row.std
    ).view(3, 1, 1)
    torch.testing.assert_close(runner(row, Mean()).normalise(torch.from_numpy(tiles)), expected.float())


def test_batches_come_back_in_order_whatever_their_size() -> None:
    row, tiles = ROWS["demo-random"], blobs(50, 64)
    encoder = TileEncoder(row, load_encoder(row), CPU)
    whole = np.concatenate(list(encoder.encode([tiles])))
    parts = [tiles[:1], tiles[1:20], torch.from_numpy(tiles[20:]), tiles[:0]]
    cut = np.concatenate(list(TileEncoder(row, load_encoder(row), CPU, batch_size=7).encode(parts)))
    assert whole.shape == (50, row.width) and whole.dtype == np.float32
    np.testing.assert_allclose(cut, whole, atol=1e-5)


def test_the_batch_is_halved_until_it_fits() -> None:
    model, tiles = Mean(limit=3), blobs(20, 64)
    encoder = runner(ROWS["demo-random"], model, batch_size=16)
    features = np.concatenate(list(encoder.encode([tiles, tiles[:5]])))
    expected = encoder.normalise(torch.from_numpy(tiles)).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(features, np.concatenate([expected, expected[:5]]), atol=1e-6)
    assert encoder.batch_size == 2 and model.sizes[:4] == [16, 8, 4, 2]
    assert max(model.sizes[4:]) == 2, "a size that failed is not tried again"


def test_no_memory_for_one_tile_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"does not hold encoder demo-random with one tile.*device: cpu"):
        runner(ROWS["demo-random"], Mean(limit=0)).forward(torch.from_numpy(blobs(2, 64)))


def test_half_precision_is_close_and_comes_out_as_float32() -> None:
    row, tiles = ROWS["demo-random"], blobs(8, 64)
    exact = next(TileEncoder(row, load_encoder(row), CPU).encode([tiles]))
    half = next(TileEncoder(row, load_encoder(row), CPU, precision="bfloat16").encode([tiles]))
    assert half.dtype == np.float32 and not np.array_equal(half, exact)
    cosine = (half * exact).sum(1) / np.linalg.norm(half, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosine.min() > 0.999


def test_reading_ahead_is_bounded_ends_early_and_hands_on_errors() -> None:
    made = []

    def batches(n: int = 100, fail: int = 10**9):
        for i in range(n):
            if i == fail:
                raise InputError("broken")
            made.append(i)
            yield np.array([i]), np.full((1, 2, 2, 3), i, np.uint8)

    ahead = ReadAhead(batches, lambda tiles: tiles[:, 0, 0, 0].astype(np.float32))
    reading = iter(ahead)
    for i in range(5):
        assert int(next(reading)[0, 0, 0, 0]) == i
        rows, scores = ahead.taken.popleft()
        assert rows.tolist() == [i] and scores.tolist() == [i]
    ahead.close()
    assert len(made) <= 5 + AHEAD + 1
    assert len(list(ReadAhead(lambda: batches(7)))) == 7
    broken = ReadAhead(lambda: batches(7, fail=2))
    with pytest.raises(InputError, match="broken"):
        list(broken)
    assert len(broken.taken) == 2
