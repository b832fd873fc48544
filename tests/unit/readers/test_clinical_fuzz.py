"""Valid clinical tables with one random lie: the lie is named, or changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mirror.config.sources import ClinicalSource
from mirror.core.errors import InputError
from mirror.core.facts import Facts
from mirror.readers.clinical.read import read_clinical


@st.composite
def tables(draw) -> pd.DataFrame:
    """A valid table: names or barcodes, two labels, days over more than a year, dead and living."""
    n = draw(st.integers(20, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = [f"TCGA-ZZ-{i:04d}" for i in range(n)] if draw(st.booleans()) else [f"HX{i:03d}" for i in range(n)]
    dead = rng.permutation(np.arange(n) % 3 == 0)
    days = rng.integers(700, 3000, n)
    return pd.DataFrame(
        {"patient_id": names, "subtype": np.where(rng.permutation(n) % 2, "IDC", "ILC"), "os_days": days,
         "os_status": dead.astype(int), "sex": np.where(rng.random(n) < 0.5, "F", "M")}
    )  # fmt: skip


def outcome(path: Path, text: str | bytes) -> tuple[pd.DataFrame | None, list[str]]:
    """The table as read and what was said of it; None where it was refused."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    facts = Facts(path)
    try:
        found, _ = read_clinical(ClinicalSource(path=str(path)), None, facts)
    except InputError as error:
        assert "\n" not in str(error) and path.name in str(error)
        return None, [str(error)]
    return found.sort_values("patient_id", ignore_index=True), [fact.text() for fact in facts.warnings]


LIES = (
    "months", "cut", "swapped", "doubled", "units", "title", "semicolon", "order", "early_visit", "lost", "header",
    "years", "points", "case", "labels", "negative", "utf16", "footnote", "two_units", "behind", "german",
)  # fmt: skip


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(), lie=st.sampled_from(LIES), seed=st.integers(0, 2**32 - 1))
def test_a_lie_is_named_or_changes_nothing(tmp_path, table, lie, seed):
    rng = np.random.default_rng(seed)
    text = table.to_csv(index=False)
    honest, silent = outcome(tmp_path / "honest.csv", text)
    assume(not any("polarity looks reversed" in text for text in silent))  # times are drawn: once in 200 by chance
    assert honest is not None and not silent, silent
    lines = text.splitlines()
    at = int(rng.integers(1, len(lines)))
    lied = {
        "months": lambda: table.assign(os_days=(table["os_days"] / 30.4375).round(1)).to_csv(index=False),
        "cut": lambda: text[: -int(rng.integers(2, len(lines[-1])))],
        "swapped": lambda: table.rename(columns={"os_days": "os_status", "os_status": "os_days"}).to_csv(index=False),
        "doubled": lambda: "\n".join([*lines, lines[at]]) + "\n",
        "units": lambda: "\n".join([lines[0], ",,days,,", *lines[1:]]) + "\n",
        "title": lambda: f"Table S{at}: all patients\n" + text,
        "semicolon": lambda: "sep=;\n" + text.replace(",", ";"),
        "order": lambda: table.sample(frac=1, random_state=at).to_csv(index=False),
        "early_visit": lambda: pd.concat(
            [table.assign(os_days=table["os_days"] // 7, os_status=0), table]
        ).sample(frac=1, random_state=at).to_csv(index=False),
        "lost": lambda: table.assign(
            os_days=table["os_days"].astype(object).mask(table["os_status"] == at % 2, "")
        ).to_csv(index=False),
        "header": lambda: "\n".join([*lines[:at], lines[0], *lines[at:]]) + "\n",
        "years": lambda: table.assign(os_days=(table["os_days"] / 365.25).round(2)).to_csv(index=False),
        "points": lambda: table.assign(
            os_days=[f"{v:,}".replace(",", ".") for v in table["os_days"]]
        ).to_csv(index=False, sep=";"),
        "case": lambda: pd.concat(
            [table, table.iloc[[at - 1]].assign(patient_id=lambda t: t["patient_id"].str.lower(), os_days=9)]
        ).to_csv(index=False),
        "labels": lambda: table.assign(
            subtype=table["subtype"].where(np.arange(len(table)) != at - 1, table["subtype"].str.lower())
        ).to_csv(index=False),
        "negative": lambda: table.assign(
            os_days=table["os_days"].where(np.arange(len(table)) != at - 1, -9)
        ).to_csv(index=False),
        "utf16": lambda: text.encode("utf-16"),
        "footnote": lambda: text + "* as of May,,,,\n",
        "two_units": lambda: table.assign(
            os_months=np.roll(table["os_days"].to_numpy(), 1 + at % 7) / 30.4375
        ).to_csv(index=False),
        "behind": lambda: table.assign(
            os_status=np.where(table["os_status"] == 1, "Deceased:1", "Living:0")
        ).to_csv(index=False),
        "german": lambda: table.rename(
            columns={"os_days": "Überlebenszeit_Tage", "os_status": "verstorben"}
        ).to_csv(index=False),
    }[lie]()  # fmt: skip
    found, said = outcome(tmp_path / "lied.csv", lied)
    same = found is not None and found.equals(honest)
    assert same or said, f"{lie} changed the result without a word"
