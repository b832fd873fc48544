"""TCGA barcodes: patient, sample, aliquot and slide identifiers in all the ways people write them.

The layout is the GDC's: ``TCGA-{site}-{participant}-{sample type}{vial}-{portion}{analyte}-{plate}-{center}``,
or ``...-{portion}-{slide}`` for slides, which files extend by a UUID and ``.svs``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from .names import without_unseen
from .spreadsheet import escape_formula

_SEP = r"[-._]"
_BARCODE = re.compile(
    rf"TCGA{_SEP}(?P<site>[A-Z0-9]{{2}}){_SEP}(?P<participant>[A-Z0-9]{{4}})"
    rf"(?:{_SEP}(?P<type>\d{{2}})(?P<vial>[A-Z])?"
    rf"(?:{_SEP}(?P<portion>\d{{2}})(?P<analyte>[A-Z])?"
    rf"(?:{_SEP}(?:(?P<slide>(?:DX|TS|BS|MS)[A-Z0-9]{{0,2}})|(?P<plate>[A-Z0-9]{{4}})(?:{_SEP}(?P<center>\d{{2}}))?))?"
    rf")?)?(?![A-Z0-9])",
    re.IGNORECASE | re.ASCII,
)

SAMPLE_TYPES: dict[str, str] = {
    "01": "Primary Solid Tumor",
    "02": "Recurrent Solid Tumor",
    "03": "Primary Blood Derived Cancer - Peripheral Blood",
    "04": "Recurrent Blood Derived Cancer - Bone Marrow",
    "05": "Additional - New Primary",
    "06": "Metastatic",
    "07": "Additional Metastatic",
    "08": "Human Tumor Original Cells",
    "09": "Primary Blood Derived Cancer - Bone Marrow",
    "10": "Blood Derived Normal",
    "11": "Solid Tissue Normal",
    "12": "Buccal Cell Normal",
    "13": "EBV Immortalized Normal",
    "14": "Bone Marrow Normal",
    "20": "Control Analyte",
    "40": "Recurrent Blood Derived Cancer - Peripheral Blood",
    "50": "Cell Lines",
    "60": "Primary Xenograft Tissue",
    "61": "Cell Line Derived Xenograft Tissue",
}
"""The GDC's two-digit sample type codes."""


@dataclass(frozen=True)
class Barcode:
    """The parts of a TCGA barcode; parts that are not there are empty strings."""

    site: str
    participant: str
    sample_type: str = ""
    vial: str = ""
    portion: str = ""
    analyte: str = ""
    plate: str = ""
    center: str = ""
    slide: str = ""

    @property
    def patient(self) -> str:
        """The patient, 12 characters, upper case with dashes."""
        return f"TCGA-{self.site}-{self.participant}"

    @property
    def sample(self) -> str:
        """The sample: 16 characters with its vial, 15 without, or the patient where none is named."""
        return f"{self.patient}-{self.sample_type}{self.vial}" if self.sample_type else self.patient

    @property
    def aliquot(self) -> str:
        """As much of the barcode as was given."""
        parts = [self.sample, self.portion + self.analyte, self.plate or self.slide, self.center]
        return "-".join(part for part in parts if part)

    @property
    def is_normal(self) -> bool:
        """Whether the sample is a normal (types 10 to 14)."""
        return self.sample_type in {"10", "11", "12", "13", "14"}

    @property
    def is_diagnostic_slide(self) -> bool:
        """Whether this is a diagnostic (DX) slide; TS and BS are frozen sections."""
        return self.slide.startswith("DX")


def find(text: str) -> tuple[int, int] | None:
    """Return where a TCGA barcode stands in ``text`` (start, stop), or None; letters and digits may not touch it."""
    for match in _BARCODE.finditer(text):
        if match.start() == 0 or not text[match.start() - 1].isalnum():
            return match.span()
    return None


@lru_cache(maxsize=200_000)
def parse(text: str) -> Barcode | None:
    """Parse a TCGA barcode.

    Lower case, dots or underscores in place of dashes (as R writes them), a file's folder, UUID and
    suffix are all understood.

    Parameters
    ----------
    text : str
        An identifier or a file name that begins with one.

    Returns
    -------
    Barcode or None
        None when ``text`` does not begin with a TCGA barcode.
    """
    name = without_unseen(text).strip().strip("\"'").replace("\\", "/").rsplit("/", 1)[-1]
    match = _BARCODE.match(name)
    if match is None:
        return None
    part = {key: (value or "").upper() for key, value in match.groupdict().items()}
    part["sample_type"] = part.pop("type")
    return Barcode(**part)


def patient_id(text: str) -> str:
    """Return the patient an identifier belongs to.

    Parameters
    ----------
    text : str
        Patient, sample, aliquot or slide identifier.

    Returns
    -------
    str
        The 12-character barcode for TCGA; any other identifier stripped of spaces and quotes, and with an apostrophe
        before what a spreadsheet would run as a formula, the same in every table.
    """
    text = without_unseen(text)
    barcode = parse(text)
    return barcode.patient if barcode else escape_formula(text.strip().strip("\"'"))


def site_of(text: str) -> str | None:
    """Return the tissue source site (characters 6 and 7 of a TCGA barcode), None for other identifiers."""
    barcode = parse(text)
    return barcode.site if barcode else None
