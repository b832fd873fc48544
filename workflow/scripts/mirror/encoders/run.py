"""Running a patch encoder: uint8 tiles in, float32 features out, at the device's own speed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..compute.device import choose_device
from ..config.slides import EmbedSettings
from ..core.errors import InputError
from .build import PooledEncoder, load_encoder, parameter_hash
from .table import EncoderRow

log = logging.getLogger("mirror.encoder")
# Where to start the search for a batch that fits; on a CPU larger batches only cost memory.
_FIRST_BATCH = {"cuda": 512, "cpu": 32}
# Batches in flight on a GPU: the copy back of one overlaps with the forward pass of the next.
_IN_FLIGHT = 2


class Normaliser:
    """Bytes to an encoder's input: x / 255, minus mean, over std, as one multiplication and one addition.

    Parameters
    ----------
    mean, std : sequence of 3 floats
        Of values between 0 and 1, red, green, blue.
    device : torch.device or str
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu") -> None:
        spread = torch.tensor(std, device=device)
        self._scale = 1 / (255 * spread)
        self._shift = -torch.tensor(mean, device=device) / spread

    def __call__(self, tiles: Tensor, out: Tensor | None = None) -> Tensor:
        """Normalise tiles.

        Parameters
        ----------
        tiles : Tensor uint8 or float32 (B, h, w, 3)
        out : Tensor float32 (B, h, w, 3), contiguous, optional
            Memory to use.

        Returns
        -------
        Tensor float32 (B, 3, h, w), channels last
        """
        made = torch.empty(tiles.shape, dtype=torch.float32, device=tiles.device) if out is None else out
        made.copy_(tiles)
        width = tiles.shape[2]
        rows = made.view(-1, width * 3)  # long rows: three numbers at a time would be slow
        torch.addcmul(self._shift.repeat(width), rows, self._scale.repeat(width), out=rows)
        return made.permute(0, 3, 1, 2)


class TileEncoder:
    """A patch encoder ready to run on one device.

    Parameters
    ----------
    row : EncoderRow
        The encoder.
    module : PooledEncoder
        Built and loaded, on the CPU.
    device : torch.device
        Where it runs.
    precision : {"auto", "float32", "bfloat16", "float16"}
        ``auto`` takes the row's on a GPU and float32 on a CPU.
    batch_size : int
        Tiles per forward pass; 0 starts large and halves when memory runs out.

    Attributes
    ----------
    batch_size : int
        Tiles per forward pass now.
    identity : str
        Hash of the row and of the weights.
    precision : str
        Precision in use.
    """

    def __init__(
        self,
        row: EncoderRow,
        module: PooledEncoder,
        device: torch.device,
        precision: str = "auto",
        batch_size: int = 0,
    ) -> None:
        self.row, self.device = row, device
        self.identity = f"{row.hash}-{parameter_hash(module)}"
        self.precision = precision if precision != "auto" else (row.precision if device.type == "cuda" else "float32")
        self.batch_size = batch_size or _FIRST_BATCH.get(device.type, 32)
        self._module: nn.Module = module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._normalise = Normaliser(row.mean, row.std, device)

    @classmethod
    def load(cls, row: EncoderRow, settings: EmbedSettings) -> TileEncoder:
        """Load ``row`` as ``settings`` say: device, precision, batch size, local weights."""
        local: str | Path | None = settings.weights.get(row.name)
        device = choose_device(settings.device, setting="embed.device")
        encoder = cls(row, load_encoder(row, local), device, settings.precision, settings.batch_size)
        log.info(
            "Encoder %s on %s: %d features, %s, %s weights",
            row.name,
            torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
            row.width,
            encoder.precision,
            "local" if local else row.weights,
        )
        return encoder

    @property
    def pinned(self) -> bool:
        """Whether host batches should lie in pinned memory."""
        return self.device.type == "cuda"

    def encode(self, batches: Iterable[Tensor | np.ndarray]) -> Iterator[np.ndarray]:
        """Encode batches, in order.

        Parameters
        ----------
        batches : iterable of (B, h, w, 3) uint8
            Tiles, RGB. In pinned memory, copying to the GPU overlaps with computing.

        Yields
        ------
        (B, D) float32 array
        """
        flying: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()
        for batch in batches:
            tiles = torch.from_numpy(np.ascontiguousarray(batch)) if isinstance(batch, np.ndarray) else batch
            flying.append(self._launch(tiles))
            while len(flying) > (_IN_FLIGHT if self.pinned else 0):
                yield self._land(*flying.popleft())
        while flying:
            yield self._land(*flying.popleft())

    def _launch(self, tiles: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
        out = self.forward(tiles)
        if not self.pinned:
            return out, None
        host = torch.empty(out.shape, dtype=out.dtype, pin_memory=True)
        host.copy_(out, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return host, event

    @staticmethod
    def _land(host: Tensor, event: torch.cuda.Event | None) -> np.ndarray:
        if event is not None:
            event.synchronize()
        return host.numpy()

    def forward(self, tiles: Tensor) -> Tensor:
        """Encode (B, h, w, 3) uint8 tiles as (B, D) float32 on the device, halving the batch on lack of memory.

        Raises
        ------
        InputError
            Memory does not suffice for a single tile.
        """
        parts, start = [], 0
        while start < len(tiles):
            size = min(self.batch_size, len(tiles) - start)
            try:
                parts.append(self._forward(tiles[start : start + size]))
            except torch.OutOfMemoryError:
                short = True
            else:
                short, start = False, start + size
            if short:  # outside the handler: the failed pass must let go of its tensors first
                self._halve(size)
        if not parts:
            return torch.empty((0, self.row.width), device=self.device)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _halve(self, size: int) -> None:
        if size <= 1:
            raise InputError(
                f"the device's memory does not hold encoder {self.row.name} with one tile",
                row=self.row.name,
                remedy="use a larger GPU, a smaller encoder, or embed: device: cpu",
            )
        self.batch_size = size // 2
        log.info("Out of memory with %d tiles a pass: trying %d", size, self.batch_size)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _forward(self, tiles: Tensor) -> Tensor:
        pixels = self.normalise(tiles)
        kind = getattr(torch, self.precision)
        cast = torch.autocast(self.device.type, kind) if kind != torch.float32 else nullcontext()
        with cast:
            return self._module(pixels).float()

    def normalise(self, tiles: Tensor) -> Tensor:
        """Bring (B, h, w, 3) uint8 tiles to the encoder's input: (B, 3, s, s) float32, channels last."""
        row = self.row
        pixels = tiles.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        side = row.resize_px or row.input_px
        if pixels.shape[-2:] != (side, side):
            pixels = _resize(pixels, side, row.interpolation)
        margin = (side - row.input_px) // 2
        if margin:
            pixels = pixels[..., margin : margin + row.input_px, margin : margin + row.input_px]
        return self._normalise(pixels.permute(0, 2, 3, 1))


def _resize(pixels: Tensor, side: int, how: str) -> Tensor:
    """Resize (B, 3, h, w) uint8 as image libraries do: antialiased, rounded to whole grey levels."""
    if how == "area":
        return F.interpolate(pixels.float(), (side, side), mode="area")
    if pixels.device.type == "cpu":  # has a fast path for bytes
        return F.interpolate(pixels, (side, side), mode=how, antialias=True, align_corners=False)
    out = F.interpolate(pixels.float(), (side, side), mode=how, antialias=True, align_corners=False)
    return out.round_().clamp_(0, 255)
