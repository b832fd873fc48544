"""Expression tables for tests: counts and TPM as a transcriptome has them, written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mirror.config.sources import ExpressionSource
from mirror.readers.expression import read_expression

N, G = 12, 260
PATIENTS = [f"TCGA-ZZ-A{i:03d}" for i in range(N)]
SYMBOLS = [f"{chr(65 + i * 26 // G)}QX{i}" for i in range(G)]


def counts(seed: int = 0, genes: int = G, samples: int = N) -> np.ndarray:
    """Whole numbers (samples, genes) with many low genes, as in any transcriptome."""
    rng = np.random.default_rng(seed)
    base = rng.lognormal(0, 2.2, genes)
    return rng.poisson(np.outer(rng.lognormal(0, 0.25, samples), base / base.sum() * 2e6)).astype(np.float64)


def tpm(seed: int = 0, genes: int = 2000, samples: int = 30) -> np.ndarray:
    """TPM (samples, genes) in which most genes are silent."""
    rng = np.random.default_rng(seed)
    level = np.where(rng.random(genes) < 0.6, rng.lognormal(-7, 1, genes), rng.lognormal(2, 1.5, genes))
    x = level * rng.lognormal(0, 0.4, (samples, genes))
    x[rng.random((samples, genes)) < 0.45] = 0
    return x / x.sum(axis=1, keepdims=True) * 1e6


def write(path: Path, values: np.ndarray, samples: list[str], genes: list[str], corner: str = "gene_name") -> Path:
    table = pd.DataFrame(values.T, index=pd.Index(genes, name=corner), columns=samples)
    table.to_csv(path, sep="\t")
    return path


def read(path: Path, **more: Any) -> tuple[Any, dict[str, Any]]:
    return read_expression(ExpressionSource(path=str(path), **more))


def said(report: dict[str, Any]) -> str:
    return "\n".join(report["warnings"])
