"""Starting from weights that exist: a checkpoint of this workflow, or one of the reference implementation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.pretrain import PretrainSettings, TrainSettings
from ..core.errors import InputError
from ..core.hashing import sha256_file
from ..core.regular_file import refuse_irregular
from ..io.checkpoints import genes_digest, load_checkpoint
from ..model.mirror import Mirror
from ..model.reference import load_reference
from ..readers.gene_lists import read_gene_list

log = logging.getLogger("mirror.training")

GENES_IN = "rna_encoder.fc1.weight"
SKIP_IN = "rna_encoder.skip.weight"
RETENTION = ("slide_retention.", "rna_retention.")
# Fitted anew where the checkpoint has none, or one of another size.
FITTED = ("input_scaling.", "style.scales.")
# Fitted on this fold's own training patients where they are used at all.
STATISTICS = ("patch_statistics.", "summary_statistics.", "gene_statistics.", "style.queue", "style.filled")
# Settings that no shape shows; other values would compute something else with the same weights.
MUST_AGREE = (("model", "slide_heads"), ("model", "rna_heads"), ("model", "linear_skip"), ("style", "read_from"))
SHOULD_AGREE = (
    ("model", "attention"),
    ("model", "landmarks"),
    ("model", "input_scaling"),
    ("alignment", "normalize"),
    ("style", "cluster"),
)


@dataclass(frozen=True)
class Start:
    """Weights to start from.

    Attributes
    ----------
    path : Path
    weights : dict of str to Tensor
        Under this library's names.
    settings : PretrainSettings
        Of the model they came from.
    genes : tuple of str or None
        Its genes in the order of its input, where they are known by name.
    genes_sha : str or None
        `genes_digest` of them, where the checkpoint keeps it.
    patients : tuple of str or None
        Patients it was trained on; None where nothing records them.
    sha256 : str
        Of the file.
    """

    path: Path
    weights: dict[str, Tensor]
    settings: PretrainSettings
    genes: tuple[str, ...] | None
    genes_sha: str | None
    patients: tuple[str, ...] | None
    sha256: str

    def record(self) -> dict[str, Any]:
        """What a checkpoint's header keeps of its start."""
        return {"path": str(self.path), "sha256": self.sha256, "patients_known": self.patients is not None}


def read_start(settings: TrainSettings) -> Start | None:
    """What ``train.init_from`` names; None where it names nothing.

    Raises
    ------
    InputError
        A checkpoint or list that cannot be read, or a list of genes of another length.
    """
    if settings.init_from is None:
        return None
    path = Path(settings.init_from)
    genes = read_gene_list(settings.init_genes) if settings.init_genes else None
    listed = read_patients(settings.init_patients) if settings.init_patients else None
    if path.suffix == ".safetensors":
        ours = load_checkpoint(path)
        weights, made_with, n_genes = ours.weights, ours.settings, ours.n_genes
        sha: str | None = ours.genes_sha
        seen = ours.seen
        known = None if seen is None and listed is None else tuple(sorted({*(seen or ()), *(listed or ())}))
        if genes is not None and genes_digest(genes) != sha and len(genes) == n_genes:
            raise InputError("not the genes of the checkpoint, or in another order", file=settings.init_genes)
    else:
        theirs = load_reference(path)
        weights, made_with, n_genes = theirs.state, theirs.settings, theirs.n_genes
        genes = genes or theirs.genes
        sha, known = None if genes is None else genes_digest(genes), listed
    if genes is not None and len(genes) != n_genes:
        raise InputError(
            f"{len(genes)} genes where the checkpoint {path.name} reads {n_genes}",
            file=settings.init_genes or path,
            remedy="give its genes one per line, each once, in the order of its input",
        )
    return Start(path, weights, made_with, genes, sha, known, sha256_file(path))


def read_patients(path: str | Path) -> tuple[str, ...]:
    """Patients of a list, one per line; ``#`` begins a comment, and an empty file is an answer too."""
    refuse_irregular(path, "list of patients")
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list of patients cannot be read ({error})", file=path) from None
    names = (line.split("#", 1)[0].strip() for line in lines)
    return tuple(dict.fromkeys(name for name in names if name))


def check_apart(start: Start, test: Sequence[str]) -> None:
    """Refuse weights that were trained on test patients.

    Raises
    ------
    InputError
        Naming the first of them.
    """
    both = sorted(set(start.patients or ()) & set(test))
    if both:
        raise InputError(
            f"the checkpoint was trained on {len(both)} of this fold's {len(test)} test patients (first: {both[0]})",
            file=start.path,
            remedy="start from weights that never saw them, or split so that they are training patients",
        )


@torch.no_grad()
def start_from(model: Mirror, start: Start, genes: Sequence[str]) -> list[str]:
    """Copy the weights into ``model``.

    Columns of the RNA encoder's first layer follow the genes by name: a gene of ``genes`` that the
    checkpoint does not know starts at zero, as if it were at its mean; one that is not in ``genes``
    is left out. Parts of retention that are missing or of another size keep their own start.

    Parameters
    ----------
    model : Mirror
    start : Start
    genes : sequence of str
        The fold's genes, in order.

    Returns
    -------
    list of str
        Parameters that start anew.

    Raises
    ------
    InputError
        Encoders of another shape, other numbers of heads, or genes that cannot be told apart.
    """
    _compare_settings(model.settings, start)
    weights = {**start.weights, GENES_IN: _columns(model, start, genes, GENES_IN)}
    if SKIP_IN in start.weights:
        weights[SKIP_IN] = _columns(model, start, genes, SKIP_IN)
    anew = []
    for name, mine in model.state_dict(keep_vars=True).items():
        if name.startswith(STATISTICS):
            continue
        given = weights.get(name)
        fits = given is not None and (given.shape == mine.shape or given.numel() == mine.numel() == 1)
        if fits:
            assert given is not None
            mine.copy_(given.reshape(mine.shape))
        elif name.startswith(RETENTION):
            anew.append(name)
        elif name.startswith(FITTED):
            continue
        else:
            found = "is missing" if given is None else f"is {tuple(given.shape)}, not {tuple(mine.shape)}"
            raise InputError(
                f"a parameter of the checkpoint {found}",
                file=start.path,
                row=name,
                remedy=f"set the variant's sizes to the checkpoint's: {_sizes(start.settings)}; "
                "and use the patch encoder it was trained with",
            )
    if anew:
        log.info("%s: %d parameters of retention are not in it and start anew", start.path.name, len(anew))
    return anew


def _sizes(settings: PretrainSettings) -> str:
    names = ("embed_dim", "rna_depth", "rna_mlp_ratio", "style_dim", "style_hidden", "prototypes")
    return ", ".join(
        f"{n}: {list(v) if isinstance(v, tuple) else round(v, 3)}"
        for n, v in ((n, getattr(settings.model, n)) for n in names)
    )


def _compare_settings(mine: PretrainSettings, start: Start) -> None:
    for group, key in MUST_AGREE + SHOULD_AGREE:
        here, there = (getattr(getattr(s, group), key) for s in (mine, start.settings))
        if here == there:
            continue
        if (group, key) in MUST_AGREE:
            raise InputError(
                f"it was trained with {group}.{key}: {there}, not {here}",
                file=start.path,
                remedy=f"set {group}.{key}: {there} for this variant",
            )
        log.warning("%s was trained with %s.%s: %s, and goes on with %s", start.path.name, group, key, there, here)


def _columns(model: Mirror, start: Start, genes: Sequence[str], layer: str) -> Tensor:
    """The weight (..., G) of a layer that reads genes, its columns in the order of ``genes``."""
    given = start.weights[layer]
    if start.genes_sha == genes_digest(genes):
        return given
    if start.genes is None:
        raise InputError(
            f"its {given.shape[1]} genes are not known by name, so they cannot be matched with the {len(genes)} here",
            file=start.path,
            remedy="list them, one per line in the order of its input, in a file named by train.init_genes",
        )
    place = {gene: i for i, gene in enumerate(start.genes)}
    bare = {gene.split(".")[0]: i for gene, i in place.items()}
    at = [place.get(gene, bare.get(gene.split(".")[0], -1)) for gene in genes]
    found = sum(i >= 0 for i in at)
    if found == 0:
        raise InputError(
            f"none of this fold's {len(genes)} genes ({', '.join(genes[:3])} ...) is among the checkpoint's "
            f"({', '.join(start.genes[:3])} ...)",
            file=start.path,
            remedy="name genes alike in expression and train.init_genes (symbols, or Ensembl identifiers)",
        )
    say = log.warning if found < 0.9 * min(len(genes), len(start.genes)) else log.info
    say(
        "%s: %d of this fold's %d genes are among its %d; the others start at zero",
        start.path.name, found, len(genes), len(start.genes),
    )  # fmt: skip
    out = model.rna_encoder.fc1.weight.new_zeros(given.shape[0], len(genes))
    here = [j for j, i in enumerate(at) if i >= 0]
    out[:, here] = given[:, [at[j] for j in here]].to(out)
    return out
