"""The table of patch encoders: ``config/encoders.yaml`` as typed rows. Imports no torch."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from ..config.base import Settings
from ..core.errors import InputError
from ..core.regular_file import refuse_irregular

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_HUB_PREFIXES = ("hf-hub:", "hf_hub:")


class EncoderRow(Settings):
    """One patch encoder, described by data alone."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name in the config and in paths.")
    timm_id: str = Field(description="Name of a timm model, or hf-hub:owner/repository.")
    architecture: str = Field("", description="timm architecture; empty: the timm id without its tag.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Arguments of timm.create_model.")
    hub_arguments: dict[str, Any] = Field(
        default_factory=dict, description="Arguments in the hub's config.json, for weights that come without one."
    )
    width: int = Field(ge=1, description="Features per tile.")
    input_px: int = Field(224, ge=16, description="Side of the encoder's input, pixels.")
    resize_px: int = Field(0, ge=0, description="Side a tile is resized to before the centre crop; 0: input_px.")
    interpolation: Literal["bilinear", "bicubic", "area"] = Field("bilinear", description="How tiles are resized.")
    mean: tuple[float, float, float] = Field(IMAGENET_MEAN, description="Mean of each channel, in 0..1.")
    std: tuple[float, float, float] = Field(IMAGENET_STD, description="Standard deviation of each channel.")
    pooling: Literal["cls", "avg", "cls_mean"] = Field(
        "cls",
        description="cls: the class token (or the model's own pooled vector); avg: mean over positions, several "
        "feature maps side by side; cls_mean: class token and mean of the patch tokens side by side.",
    )
    prefix_tokens: int = Field(1, ge=0, description="Tokens before the first patch token (class and registers).")
    precision: Literal["float32", "bfloat16", "float16"] = Field("bfloat16", description="Autocast type on a GPU.")
    licence: str = Field(description="Licence of the weights.")
    gated: bool = Field(False, description="Whether the hub asks to accept terms first.")
    source: str = Field(description="Paper or page.")
    weights: Literal["hub", "package", "random"] = Field(
        "hub", description="hub: fetched; package: in an installed Python package; random: seeded random weights."
    )
    package: str = Field(
        "", description="Checkpoint in an installed Python package, as package/path/of/the/file (weights: package)."
    )
    seed: int = Field(0, ge=0, description="Seed of random weights.")
    revision: str | None = Field(None, description="Commit of the hub's repository to pin.")

    @model_validator(mode="after")
    def _consistent(self) -> EncoderRow:
        if self.is_hub_id and not self.architecture:
            raise ValueError("a hub id needs its architecture, so that local checkpoints can be loaded")
        if self.resize_px and self.resize_px < self.input_px:
            raise ValueError("resize_px is smaller than input_px")
        if (self.weights == "package") != bool(self.package):
            raise ValueError("weights: package and the key package belong together")
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self

    @property
    def is_hub_id(self) -> bool:
        """Whether the timm id names a repository on the hub."""
        return self.timm_id.startswith(_HUB_PREFIXES)

    @property
    def repository(self) -> str:
        """``owner/name`` on the hub."""
        return self.timm_id.split(":", 1)[1] if self.is_hub_id else f"timm/{self.timm_id}"

    @property
    def timm_architecture(self) -> str:
        """Name that timm knows without a hub."""
        return self.architecture or self.timm_id.split(".", 1)[0]

    @property
    def hash(self) -> str:
        """Hash of what shapes the features: everything but name, licence, gating and source."""
        facts = self.model_dump(mode="json", exclude={"name", "licence", "gated", "source"})
        if not self.package:  # rows without it keep the hash they had before the key existed
            del facts["package"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def read_encoders(path: str | Path) -> dict[str, EncoderRow]:
    """Read the table of patch encoders.

    Parameters
    ----------
    path : path-like
        A YAML file; each top-level key is a name, its value the rest of the row.

    Returns
    -------
    dict of str to EncoderRow

    Raises
    ------
    InputError
        The table is missing, not YAML, or a row is wrong: names the row and the key.
    """
    refuse_irregular(path, "encoder table")
    try:
        table = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("the encoder table cannot be read", file=path, remedy="set encoder_table") from error
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {error}", file=path) from error
    if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
        raise InputError("each top-level key must be an encoder's name with its row below", file=path)
    rows = {}
    for name, row in table.items():
        try:
            rows[str(name)] = EncoderRow(name=str(name), **row)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "row"
            raise InputError(f"{where}: {first['msg']}", file=path, row=str(name)) from error
    return rows


def find_encoder(name: str, path: str | Path) -> EncoderRow:
    """Return the row of ``name``, or an `InputError` that names what the table has."""
    rows = read_encoders(path)
    if name in rows:
        return rows[name]
    near = difflib.get_close_matches(name, rows, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise InputError(
        f"no encoder named {name!r}", file=path, remedy=f"{hint}the table has {', '.join(rows)}; or add a row"
    )
