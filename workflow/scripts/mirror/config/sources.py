"""Settings of the files a cohort is read from: expression, clinical table, patch features."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, model_validator

from .base import Settings
from .shorthand import long_form

_TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
FirstPath = Annotated[str, WithJsonSchema({"anyOf": [{"type": "string"}, _TEXTS]})]
"""A path, or a list of paths, whose later ones go to ``further``."""


class Files(Settings):
    """A source that may be several files of one cohort."""

    @property
    def files(self) -> list[str]:
        """All files, the first one first."""
        return [self.path, *self.further]  # type: ignore[attr-defined]

    @property
    def about(self) -> str:
        """The files as messages name them."""
        return ", ".join(self.files)

    @model_validator(mode="before")
    @classmethod
    def _unfold(cls, given: Any) -> Any:
        return long_form(given)


class ClinicalSource(Files):
    """A clinical table. Event polarity and time unit follow from the format, or are named here."""

    path: FirstPath = Field(
        description="The table; or a list of tables of one format, of other patients or of other columns of the same."
    )
    further: list[str] = Field(default_factory=list, description="Tables after the first of a list in `path`.")
    also: list[str] = Field(
        default_factory=list,
        description="Further tables of the same patients, joined on the patient: the GDC portal's follow_up.tsv ...",
    )
    format: Literal["auto", "table", "tcga_cdr", "cbioportal", "gdc", "porpoise"] = Field(
        "auto", description="Format; auto recognises it."
    )
    endpoint: Literal["OS", "DSS", "PFI", "DFI", "none"] = Field(
        "OS", description="Which survival endpoint; none reads no follow-up."
    )
    patient: str | None = Field(
        None, description="Column of patient identifiers; without it the column that meets the slide table."
    )
    label: str | None = Field(None, description="Column of the subtype label.")
    time: str | None = Field(None, description="Column of the follow-up time.")
    event: str | None = Field(None, description="Column of the event indicator.")
    time_unit: Literal["auto", "days", "months", "years"] = Field("auto", description="Unit of the time column.")
    event_is: Literal["auto", "1_event", "1_censored"] = Field("auto", description="What 1 means in the event column.")
    negative_times: Literal["missing", "error"] = Field(
        "missing", description="Times below zero: no follow-up (counted; the patient stays for subtyping), or refuse."
    )
    zero_times: Literal["keep", "missing", "half_day", "error"] = Field(
        "keep", description="Times of zero days: keep, no follow-up, half a day, or refuse; counted in any case."
    )
    contradictions: Literal["rule", "missing", "error"] = Field(
        "rule",
        description="Vital facts that contradict each other (alive with a date of death, dead without one, vital "
        "status against the event): the rule of each kind, no follow-up, or refuse; counted in any case.",
    )
    site: str | None = Field(
        None, description="Column of the submitting site; without it a column of a usual name, else the TCGA barcode."
    )
    classes: list[str] = Field(
        default_factory=list,
        description="Words of the label column that are classes although they usually mean missing, e.g. [unknown].",
    )
    covariates: list[str] = Field(
        default_factory=list,
        description="Columns for the clinical-only baseline, beside age, sex and stage. No other column is used.",
    )


class FeatureSource(Settings):
    """Patch features that others made; tiling and embedding are skipped."""

    format: Literal["trident", "clam", "stamp", "pt"] = Field(description="Who wrote them.")
    path: str = Field(description="Their folder.")
    width: int = Field(ge=1, description="Features per tile; checked against the files.")
    encoder: str = Field("imported", description="Name under which these features appear in results.")
    mixed_scales: Literal["warn", "error"] = Field(
        "warn", description="Tiles whose size in micrometres differs by more than 10 % between slides: warn, or stop."
    )


class ExpressionSource(Files):
    """Where a cohort's expression comes from. What the file holds is detected and stated."""

    path: FirstPath = Field(
        description="File, or folder of GDC STAR-count files (nested folders are searched); or a list of them, joined "
        "over the genes that all have."
    )
    further: list[str] = Field(default_factory=list, description="Files after the first of a list in `path`.")
    format: Literal["auto", "gdc_star", "xena", "cbioportal", "matrix", "reference", "porpoise", "h5ad"] = Field(
        "auto", description="File format; auto recognises it."
    )
    values: Literal["auto", "counts", "tpm", "fpkm", "log2", "log1p", "zscore"] = Field(
        "auto", description="What the numbers are; auto detects it, a contradiction is an error."
    )
    orientation: Literal["auto", "genes_by_samples", "samples_by_genes"] = Field(
        "auto", description="Which way round a plain matrix is."
    )
    sample_sheet: str | None = Field(
        None,
        description="GDC sample sheet (format gdc_star), or for any format a table of sample_id, patient_id and, "
        "optionally, sample_type.",
    )
    sample_types: list[str] = Field(
        default_factory=lambda: ["01", "03", "09", "02", "05", "06", "07", "04", "40"],
        description="TCGA sample types that are read, the most preferred first; a patient's samples of less preferred "
        "types are left out. Normals (10 to 14) are not in the default.",
    )
    probe_map: str | None = Field(None, description="Xena probe map: identifiers to gene symbols.")
    column: str = Field("unstranded", description="Column of GDC STAR-count files (unstranded, tpm_unstranded ...).")
    duplicates: Literal["first", "mean", "highest_total", "error"] = Field(
        "first", description="Several samples of a patient with different values: which counts."
    )
    missing: Literal["error", "drop_gene", "median"] = Field(
        "drop_gene", description="Missing values: refuse, drop the gene, or the training patients' median."
    )
    negative: Literal["error", "missing", "zero"] = Field(
        "error", description="Negative counts, TPM or FPKM (some batch corrections make a few): refuse, missing, or 0."
    )
    layer: str | None = Field(None, description="Layer of an h5ad file to read in place of X.")
    gene_duplicates: Literal["auto", "sum", "mean", "first", "error"] = Field(
        "auto", description="Genes named twice; auto sums counts, TPM and FPKM and averages logarithms and z-scores."
    )
    constant_genes: Literal["keep", "drop"] = Field(
        "keep", description="Genes with the same value in every patient; counted either way."
    )
    extreme: Literal["clip", "keep", "drop_gene", "error"] = Field(
        "clip", description="z-scores beyond extreme_z: clip to it, keep, drop the gene, or refuse; counted either way."
    )
    extreme_z: float = Field(10.0, gt=0, description="Bound of plausible z-scores, standard deviations.")


def or_paths(schema: dict[str, Any]) -> None:
    """Let the schema of an optional source take a path or a list of paths too."""
    schema["anyOf"][1:1] = [{"type": "string"}, _TEXTS]
