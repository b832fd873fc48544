"""The leak audit: run the checks that the data at hand allow, and say yes or no."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..config.audit import AuditSettings
from ..core.atomic import write_json
from ..core.errors import InputError
from .checks import (
    FITTED_CHECKS,
    Check,
    check_fitted,
    check_patient_overlap,
    check_rna_duplicates,
    check_shared_sites,
    check_site_label,
    check_slide_duplicates,
    check_test_coverage,
)
from .provenance import Fitted

log = logging.getLogger("mirror")


def run_audit(
    splits: pd.DataFrame,
    settings: AuditSettings,
    *,
    patients: pd.DataFrame | None = None,
    slides: pd.DataFrame | None = None,
    expression: tuple[Sequence[str], np.ndarray] | None = None,
    fitted: Iterable[Fitted] = (),
    site_preserving: bool = False,
    labels: Mapping[str, pd.Series] | None = None,
) -> list[Check]:
    """Run every check for which there is something to look at.

    Parameters
    ----------
    splits : DataFrame
        ``patient_id, repeat, fold, set``.
    settings : AuditSettings
        Thresholds and allowed failures.
    patients : DataFrame, optional
        The cohort: ``patient_id, site``. Gives the site and coverage checks.
    slides : DataFrame, optional
        ``slide_id, patient_id, fingerprint``.
    expression : tuple of (patients, ndarray (n, G)), optional
        Expression as read.
    fitted : iterable of Fitted
        What was fitted; each kind that occurs is checked.
    site_preserving : bool
        Whether the scheme promises that sites stay together.
    labels : mapping of target to Series, optional
        Labels by patient_id. Gives the check of sites with one label only.

    Returns
    -------
    list of Check
        With ``allowed`` and ``reason`` filled in where a failed check is in ``settings.allow``.
    """
    records = list(fitted)
    checks = [check_patient_overlap(splits)]
    if slides is not None and len(slides):
        checks.append(check_slide_duplicates(slides, splits))
    if expression is not None and len(expression[1]):
        checks.append(check_rna_duplicates(*expression, splits, settings.rna_tolerance))
    kinds = {record.check for record in records}
    checks += [check_fitted(name, records, splits) for name in FITTED_CHECKS if name in kinds]
    if patients is not None:
        if "label" in patients:
            checks.append(check_site_label(patients, settings.min_site_patients))
        for target, label in (labels or {}).items():
            of_target = patients.assign(label=patients["patient_id"].map(label))
            found = check_site_label(of_target, settings.min_site_patients)
            checks.append(replace(found, message=f"{target}: {found.message}"))
        checks.append(check_shared_sites(splits, patients, site_preserving))
        checks.append(check_test_coverage(splits, patients["patient_id"].tolist()))
    return [
        replace(check, allowed=True, reason=settings.allow[check.name])
        if not check.passed and check.name in settings.allow
        else check
        for check in checks
    ]


def audit_report(checks: Sequence[Check]) -> dict[str, Any]:
    """The audit as JSON: every check, and whether none blocks."""
    return {"checks": [asdict(check) for check in checks], "passed": not any(check.blocks for check in checks)}


def conclude(checks: Sequence[Check], out: str | Path) -> None:
    """Write the audit, or stop the run.

    Parameters
    ----------
    checks : sequence of Check
        From `run_audit`.
    out : path-like
        ``leaks.json``. When a check blocks, the same JSON goes to ``leaks.failed.json`` beside
        it instead: no rule declares that name, so it survives the failed job and can be read.

    Raises
    ------
    InputError
        A check failed that the config does not allow; one line names all of them.
    """
    out = Path(out)
    failed = out.with_suffix(f".failed{out.suffix}")
    for check in checks:
        state = "passed" if check.passed else "ALLOWED" if check.allowed else check.level.upper()
        log.info("%-22s %-8s %s%s", check.name, state, check.message, f" ({check.reason})" if check.reason else "")
    blocking = [check for check in checks if check.blocks]
    if not blocking:
        failed.unlink(missing_ok=True)
        write_json(out, audit_report(checks))
        return
    write_json(failed, audit_report(checks))
    raise InputError(
        f"the leak audit failed: {'; '.join(f'{check.name}: {check.message}' for check in blocking)}",
        file=failed,
        remedy=f"remove the leak, or state why it may stay under audit.allow.{blocking[0].name} in the config",
    )


def read_expression_rows(path: str | Path, patients: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Expression as read, of those of ``patients`` that have any.

    Parameters
    ----------
    path : path-like
        The cohort's expression, ``.h5ad``; the layer ``read`` where there is one, else X.
    patients : sequence of str
        Patients of the splits.

    Returns
    -------
    patients : list of str, length n
    x : ndarray of float32, (n, G)
    """
    import anndata

    data = anndata.read_h5ad(path)
    data = data[data.obs_names.isin(set(patients))]
    x = data.layers.get("read", data.X)
    x = x.toarray() if hasattr(x, "toarray") else np.asarray(x)
    return data.obs_names.astype(str).tolist(), x.astype(np.float32, copy=False)
