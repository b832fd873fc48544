"""What stands behind one cell of a table: predictions, embeddings, checkpoints, their configuration, seeds, hashes."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import pandas as pd

from ..core.errors import InputError
from ..core.folds import fold_name
from ..core.hashing import sha256_file
from ..io.predictions import read_predictions
from ..plan.paths import names_in

FORM = "cohort/encoder/scheme/method/task/protocol/modality/metric[/head]"
RETRIEVAL, TRUTH = "retrieval", "truth"


@dataclass(frozen=True)
class CellAddress:
    """Where a figure stands."""

    cohort: str
    encoder: str
    scheme: str
    method: str
    task: str
    protocol: str
    modality: str
    metric: str
    head: str = ""

    @classmethod
    def parse(cls, text: str) -> CellAddress:
        """Read `FORM`.

        Raises
        ------
        InputError
            Another number of parts.
        """
        parts = [p.strip() for p in text.strip().strip("/").split("/")]
        if not 8 <= len(parts) <= 9 or not all(parts[:8]):
            raise InputError(
                f"`{text}` is not the address of a table cell",
                remedy=f"--config cell={FORM}, e.g. SIM/efficientnet-lite0-128px/cv3/mirror/survival/cox/wsi/c_index",
            )
        return cls(*parts)

    def rows(self, metrics: pd.DataFrame) -> pd.DataFrame:
        """The rows of ``metrics.tsv`` behind the cell."""
        some = metrics
        for name, value in vars(self).items():
            if name != "head" or value:
                some = some[some[name].fillna("").astype(str) == value]
        return some


def checkpoint_header(path: str | Path) -> dict[str, Any]:
    """The configuration in a checkpoint's header, without reading its weights.

    The safetensors form: eight bytes with the header's length, then the header as JSON.
    """
    with open(path, "rb") as handle:
        (length,) = struct.unpack("<Q", handle.read(8))
        return json.loads(json.loads(handle.read(length))["__metadata__"]["mirror"])


def _checked(path: Path, recorded: str | None) -> dict[str, Any]:
    """A file with its hash, and whether it is still the one that was recorded."""
    if path.is_dir():
        return {"file": str(path), "state": "a folder"}
    if not path.is_file():
        return {"file": str(path), "state": "MISSING", "recorded_sha256": recorded}
    found = sha256_file(path)
    state = "unrecorded" if not recorded else ("as recorded" if found == recorded else "CHANGED SINCE")
    return {"file": str(path), "sha256": found, "state": state}


def _model(embeddings: Path, recorded: str | None) -> dict[str, Any]:
    """One fold's embeddings and the checkpoint behind them."""
    out: dict[str, Any] = {
        "fold": embeddings.stem,
        "cohort": names_in("embeddings", embeddings)["cohort"],
        "embeddings": _checked(embeddings, recorded),
    }
    if not embeddings.is_file():
        return out
    with h5py.File(embeddings) as file:
        stored = json.loads(file["uns/mirror"].asstr()[()])
    checkpoint = Path(stored["checkpoint"])
    out["checkpoint"] = _checked(checkpoint, stored.get("checkpoint_sha256"))
    if checkpoint.is_file():
        header = checkpoint_header(checkpoint)
        kept = ("variant", "seed", "code_version", "n_genes", "feature_width", "genes_sha", "config")
        out["checkpoint"] |= {k: header[k] for k in kept if k in header}
        out["checkpoint"]["patients_trained_on"] = len(header.get("patients", []))
        out["checkpoint"]["validation_patients"] = len(header.get("validation_patients", []))
    return out


def trace(results: str | Path, text: str) -> dict[str, Any]:
    """Everything behind one cell.

    Parameters
    ----------
    results : path-like
        The results folder.
    text : str
        See `FORM`.

    Returns
    -------
    dict
        cell, figures (fold by fold and pooled), predictions, probe settings and seed, sources or models.

    Raises
    ------
    InputError
        The cell has no figures; says which values would have.
    """
    results, cell = Path(results), CellAddress.parse(text)
    table = results / "metrics.tsv"
    if not table.is_file():
        raise InputError("there are no metrics yet", file=table, remedy="run the workflow first")
    metrics = pd.read_csv(table, sep="\t", dtype={"fold": str, "head": str})
    rows = cell.rows(metrics)
    if rows.empty:
        same = metrics[(metrics["cohort"] == cell.cohort) & (metrics["task"] == cell.task)]
        names = ("encoder", "scheme", "method", "protocol", "modality", "metric")
        wrong = [n for n in names if getattr(cell, n) not in set(same[n].astype(str))]
        known = "; ".join(f"{n}: {', '.join(sorted(set(same[n].astype(str))))}" for n in wrong or names)
        raise InputError(
            f"no figure at `{text}`", file=table, remedy=f"choose among {known or metrics['cohort'].unique()}"
        )
    shown = ["head", "repeat", "fold", "draw", "value", "ci_low", "ci_high", "n", "events", "seed"]
    out: dict[str, Any] = {
        "cell": vars(cell),
        "figures": json.loads(rows[shown].to_json(orient="records")),
    }
    place = Path(cell.cohort) / cell.encoder / cell.scheme
    if cell.task in (RETRIEVAL, TRUTH):  # measured on the embeddings themselves
        folder = results / "embeddings" / place / cell.method
        out["models"] = [_model(path, None) for path in sorted(folder.glob("*.h5ad"))]
        if cell.task == TRUTH:
            known = [results / "simulated" / cell.cohort / "truth" / "factors.tsv"]  # type: ignore[assignment]
            known.append((results / "truth" / place).with_suffix(".tsv"))  # type: ignore[attr-defined]
            if not out["models"]:  # the row of the input itself
                known += [results / "rna" / f"{cell.cohort}.h5ad", results / "slides" / "features" / cell.encoder]  # type: ignore[operator]
            out["sources"] = [_checked(path, None) for path in known]  # type: ignore[arg-type]
        return out
    file = results / "predictions" / place / cell.task / f"{cell.method}.parquet"
    frame, stored = read_predictions(file)
    own = frame[(frame["protocol"] == cell.protocol) & (frame["modality"] == cell.modality)]
    out["predictions"] = {**_checked(file, None), "rows": len(own), "patients": int(own["patient_id"].nunique())}
    kept = ("seed", "code_version", "settings")
    out["probe"] = {**{key: stored.get(key) for key in kept}, "notes": stored.get("notes", [])}
    folds = sorted({fold_name(r, f) for r, f in zip(own["repeat"], own["fold"], strict=True)})
    out["fitted_on"] = {
        fold: len(seen.get("train", []))
        for fold, seen in stored.get("patients", {}).items()
        # Every fold's model of the source ranks the whole target; the draw tells them apart.
        if fold in folds or cell.protocol == "transfer"
    }
    sources = stored.get("sources", [])
    out["models"] = [
        _model(Path(s["file"]), s["sha256"]) for s in sources if s["file"].endswith(".h5ad") and _is_fold(s)
    ]
    out["sources"] = [
        _checked(Path(s["file"]), s["sha256"]) for s in sources if not (s["file"].endswith(".h5ad") and _is_fold(s))
    ]
    return out


def _is_fold(source: dict[str, str]) -> bool:
    """Whether a source is a fold's embeddings (and not, say, the cohort's expression)."""
    return "embeddings" in Path(source["file"]).parts


def render(found: dict[str, Any]) -> str:
    """A trace as text."""
    cell = found["cell"]
    lines = [f"Cell: {'/'.join(str(v) for v in cell.values() if v)}", "", "Figures"]
    for row in found["figures"]:
        interval = "" if row["ci_low"] is None else f" [{row['ci_low']:.4f}, {row['ci_high']:.4f}]"
        where = (
            row["fold"]
            if row["fold"] == "pooled"
            else f"repeat {row['repeat']}, fold {row['fold']}, draw {row['draw']}"
        )
        events = "" if row["events"] is None else f", {int(row['events'])} events"
        lines.append(
            f"  {where} ({row['head']}): {row['value']:.4f}{interval}, n = {row['n']}{events}, seed {row['seed']}"
        )
    if "predictions" in found:
        p = found["predictions"]
        lines += [
            "",
            f"Predictions: {p['file']}",
            f"  sha256 {p.get('sha256')}; {p['rows']} rows, {p['patients']} patients",
        ]
        lines += [f"  fitted on {n} training patients in {fold}" for fold, n in found["fitted_on"].items()]
        probe = found["probe"]
        lines.append(f"  probe seed {probe['seed']}, code {probe['code_version']}")
        lines.append(f"  settings {json.dumps(probe['settings'], sort_keys=True)}")
        lines += [f"  note: {note}" for note in probe["notes"]]
    for model in found.get("models", []):
        lines += ["", f"Fold {model['fold']} ({model['cohort']})"]
        for name in ("embeddings", "checkpoint"):
            if name in model:
                entry = model[name]
                lines.append(f"  {name}: {entry['file']} ({entry['state']})")
                lines.append(f"    sha256 {entry.get('sha256', 'none')}")
        one = model.get("checkpoint", {})
        if "config" in one:
            lines.append(
                f"    variant {one['variant']}, seed {one['seed']}, code {one['code_version']}, {one['n_genes']} genes "
                f"(sha {one['genes_sha'][:12]}), {one['patients_trained_on']} patients trained on, "
                f"{one['validation_patients']} for validation"
            )
            lines.append(f"    config {json.dumps(one['config'], sort_keys=True)}")
    if found.get("sources"):
        lines += ["", "Sources"]
        lines += [f"  {s['file']} ({s['state']}) sha256 {s.get('sha256', 'none')}" for s in found["sources"]]
    return "\n".join(lines)
