"""Settings of tiling and patch features."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Settings


class TileSettings(Settings):
    """The grid of tiles. A tile has a physical size: ``size_px * mpp`` micrometres."""

    size_px: int = Field(256, ge=32, le=4096, description="Side of a tile, pixels at the target resolution.")
    mpp: float = Field(0.5, ge=0.05, le=8, description="Target resolution, micrometres per pixel (0.5 is 20x).")
    overlap_px: int = Field(
        0, ge=0, description="Overlap of neighbouring tiles, pixels at the target resolution; less than size_px."
    )
    edge: Literal["drop", "pad"] = Field(
        "drop", description="Tiles that reach beyond the slide: dropped, or padded with white as published."
    )


class TissueSettings(Settings):
    """How tissue is distinguished from glass, pen and dirt."""

    method: Literal["default", "published", "torchscript", "safetensors"] = Field(
        "default",
        description="default: at a fixed physical resolution, pen-aware; published: the paper's Otsu recipe; "
        "torchscript: a segmentation model of your own, which runs as code; "
        "safetensors: weights of a known architecture, which do not.",
    )
    model_path: str | None = Field(
        None,
        description="Model file, for the methods torchscript and safetensors. A TorchScript file runs as code: "
        "operators that open, save or print are refused, but take it only from a source you trust.",
    )
    architecture: Literal[
        "deeplabv3_resnet50", "deeplabv3_mobilenet_v3_large", "fcn_resnet50", "lraspp_mobilenet_v3_large"
    ] = Field("deeplabv3_resnet50", description="torchvision's segmentation network, for method safetensors.")
    mpp: float = Field(
        8.0, ge=0.25, le=32, description="Resolution at which tissue is segmented, micrometres per pixel."
    )
    min_tissue_fraction: float = Field(0.25, ge=0, le=1, description="Least share of tissue for a tile to be kept.")
    max_pen_fraction: float = Field(0.2, ge=0, le=1, description="Largest share of pen marks for a tile to be kept.")
    min_object_um2: float = Field(10_000.0, ge=0, description="Tissue pieces smaller than this are dropped, um^2.")
    max_hole_um2: float = Field(20_000.0, ge=0, description="Holes smaller than this are filled, um^2.")


class SlideSettings(Settings):
    """Everything between a slide file and its tile coordinates."""

    preset: Literal["default", "published"] = Field(
        "default", description="published: 512 px at 20x, padded, Otsu as in the paper; overrides tile and tissue."
    )
    tile: TileSettings = Field(TileSettings(), description="The grid of tiles.")
    tissue: TissueSettings = Field(TissueSettings(), description="Tissue detection.")
    slides_per_job: int = Field(32, ge=1, description="Slides in one job (a shard).")
    max_failed_fraction: float = Field(
        0.1, ge=0, le=1, description="The run stops when a larger share of a cohort's slides failed."
    )
    max_minutes: float = Field(
        15.0, gt=0, le=1440, description="Time limit for reading one slide while tiling, minutes; then it fails."
    )
    resolution_conflict: Literal["ask", "warn", "fail"] = Field(
        "ask",
        description="Two sources of a slide's resolution that differ by more than 10 %. ask: a file that contradicts "
        "itself fails unless the column mpp decides, other contradictions are warnings; warn: always a warning; "
        "fail: always a failed slide.",
    )
    whole_mount: bool = Field(
        False, description="Scans up to 76 x 51 mm (2 x 3 inches) are no warning; false allows 76 x 26 mm."
    )
    thumbnail_px: int = Field(1024, ge=128, le=8192, description="Longer side of the quality-control thumbnail.")
    backend: Literal["auto", "openslide"] = Field(
        "auto", description="auto: direct JPEG tile decoding where it gives the same tiles, else OpenSlide."
    )

    def resolved(self) -> SlideSettings:
        """Return the settings with the preset's tile and tissue values filled in."""
        if self.preset == "default":
            return self
        tile = TileSettings(size_px=512, mpp=0.5, overlap_px=0, edge="pad")
        tissue = TissueSettings(
            method="published", mpp=0.5, min_tissue_fraction=0.0, max_pen_fraction=1.0, min_object_um2=0, max_hole_um2=0
        )
        return self.model_copy(update={"preset": "default", "tile": tile, "tissue": tissue})


class EmbedSettings(Settings):
    """Everything between tile coordinates and patch features."""

    batch_size: int = Field(0, ge=0, description="Tiles per forward pass; 0 finds one that fits.")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: what the encoder's row says on a GPU, float32 on a CPU."
    )
    dtype: Literal["float16", "float32"] = Field("float16", description="Type of the stored features.")
    readers: int = Field(0, ge=0, description="Reading threads; 0 uses the job's threads.")
    min_focus: float | None = Field(
        None, ge=0, description="Tiles with a lower focus score are left out of bags; null keeps all."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the encoder runs.")
    weights: dict[str, str] = Field(
        default_factory=dict, description="Encoder name to a local checkpoint, in place of the hub."
    )
    share_dir: str | None = Field(
        None, description="Folder in which features are shared by content between projects; null shares nothing."
    )
