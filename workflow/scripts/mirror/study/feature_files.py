"""Patch features that other tools wrote: which tool, how wide, of which slides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InputError
from ..io.hdf5 import open_h5
from ..readers.features import FINDERS
from .slide_files import SlideFile

UNNAMED = "imported"


@dataclass(frozen=True)
class FoundFeatures:
    """Features of one encoder.

    Attributes
    ----------
    format : {"trident", "clam", "stamp", "pt"}
    path : Path
        What the configuration names.
    width : int
        Features per tile.
    encoder : str
        From the folder's name; ``imported`` where it says none.
    slides : list of SlideFile
        One per feature file.
    """

    format: str
    path: Path
    width: int
    encoder: str
    slides: list[SlideFile]


def find_features(folder: str | Path) -> FoundFeatures:
    """Recognise a folder of features by its layout and by the first file.

    Raises
    ------
    InputError
        No such folder, no features in it, or those of several encoders.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError("is not a folder", file=root, remedy="give the folder that holds the features")
    where, encoder = _one_encoder(root)
    if (where / "h5_files").is_dir() or (where / "pt_files").is_dir():
        kind = "clam"
    elif any(where.glob("*.h5")):
        kind = ""
    elif any(where.glob("*.pt")):
        kind = "pt"
    else:
        raise InputError(
            "holds no features",
            file=root,
            remedy="give TRIDENT's features_* folder, CLAM's folder with h5_files or pt_files, STAMP's folder of .h5 "
            "files, or a folder of .pt files",
        )
    files = FINDERS[kind or "trident"](where, encoder or UNNAMED)
    first = next(iter(files.values()), None)
    if first is None:
        raise InputError("holds no features", file=where, remedy="give a folder that holds .h5 or .pt files")
    name, width = _look(first)
    if not kind:
        kind = "stamp" if name == "feats" else "trident"
    slides = [SlideFile(path, stem) for stem, path in sorted(files.items())]
    return FoundFeatures(kind, where, width, encoder or UNNAMED, slides)


def _one_encoder(root: Path) -> tuple[Path, str]:
    """The folder of one encoder's files, and the encoder's name."""
    if root.name.startswith("features_"):
        return root, root.name.removeprefix("features_")
    inner = [p for pattern in ("features_*", "*/features_*") for p in sorted(root.glob(pattern)) if p.is_dir()]
    if not inner and not any(root.glob("*.h5")) and not any(root.glob("*.pt")):  # STAMP: {encoder}-{hash}
        inner = sorted(p for p in root.iterdir() if p.is_dir() and any(p.glob("*.h5")) and p.name != "h5_files")
    if len(inner) > 1:
        names = ", ".join(str(p.relative_to(root)) for p in inner)
        raise InputError(f"holds features of several encoders ({names})", file=root, remedy="give one of these folders")
    if not inner:
        return root, ""
    name = inner[0].name
    return inner[0], name.removeprefix("features_") if name.startswith("features_") else name.split("-")[0]


def _look(path: Path) -> tuple[str, int]:
    """Name and width of the features in a file."""
    if path.suffix == ".pt":
        from ..readers.features.pt import read_slide

        return "features", int(read_slide(path).features.shape[1])
    with open_h5(path, "features") as file:
        for name in ("features", "feats"):
            if name in file:
                return name, int(file[name].shape[-1])
        seen = ", ".join(sorted(file)[:8])
    raise InputError(f"has no dataset `features` or `feats` (it has {seen})", file=path, remedy="give a feature file")
