"""A table as CSV (the numbers), Markdown, LaTeX and HTML (the text)."""

from __future__ import annotations

import html
from pathlib import Path

import pandas as pd

from ...core.atomic import atomic_path, write_text
from ...core.spreadsheet import escape_formula
from .build import ROW, Table


def _drop_empty(table: Table, titles: dict[str, str]) -> tuple[list[str], list[list[str]], list[list[bool]]]:
    """Header, texts and bold marks without text columns that say nothing."""
    header = table.header(titles)
    texts = [
        table.row_texts(i)
        + [table.cells[i, j].text() if (i, j) in table.cells else "–" for j in range(len(table.columns))]
        for i in range(len(table.rows))
    ]
    bold = [
        [False] * 4 + [(i, j) in table.cells and table.cells[i, j].bold for j in range(len(table.columns))]
        for i in range(len(table.rows))
    ]
    keep = [k for k in range(len(header)) if k >= 4 or any(row[k] for row in texts)]
    return [header[k] for k in keep], [[r[k] for k in keep] for r in texts], [[b[k] for k in keep] for b in bold]


def to_frame(table: Table) -> pd.DataFrame:
    """The numbers, long: one row a cell."""
    rows = []
    for (i, j), cell in sorted(table.cells.items()):
        row, (cohort, metric) = table.rows[i], table.columns[j]
        rows.append(
            {
                **{k: escape_formula(row[k]) for k in ROW},
                "cohort": escape_formula(cohort),
                "metric": metric,
                "value": cell.mean,
                "fold_mean": cell.fold_mean,
                "sd": cell.sd,
                "folds": cell.folds,
                "ci_low": cell.low,
                "ci_high": cell.high,
                "bold": cell.bold,
                "n": table.n[cohort],
            }
        )
    return pd.DataFrame(rows)


def to_markdown(table: Table, titles: dict[str, str]) -> str:
    """The table as Markdown."""
    header, texts, bold = _drop_empty(table, titles)
    lines = [f"**{table.title}**", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row, marks in zip(texts, bold, strict=True):
        cells = [f"**{t}**" if b else t for t, b in zip(row, marks, strict=True)]
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join([*lines, "", caption(table, titles), ""])


def to_latex(table: Table, titles: dict[str, str]) -> str:
    """The table as LaTeX (booktabs)."""
    header, texts, bold = _drop_empty(table, titles)
    special = {
        "&": r"\&",
        "%": r"\%",
        "_": r"\_",
        "#": r"\#",
        "$": r"\$",
        "±": r"$\pm$",
        "–": "--",
        "²": "$^2$",
        "^": r"\^{}",
        "~": r"\~{}",
        "{": r"\{",
        "}": r"\}",
    }

    def clean(text: str) -> str:
        return "".join(special.get(c, c) for c in text.replace("\\", "/"))

    lines = [r"\begin{table}", r"\centering", rf"\caption{{{clean(table.title)}. {clean(caption(table, titles))}}}"]
    lines += [
        rf"\begin{{tabular}}{{{'l' * len(header)}}}",
        r"\toprule",
        " & ".join(map(clean, header)) + r" \\",
        r"\midrule",
    ]
    for row, marks in zip(texts, bold, strict=True):
        cells = [rf"\textbf{{{clean(t)}}}" if b else clean(t) for t, b in zip(row, marks, strict=True)]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def to_html(table: Table, titles: dict[str, str]) -> str:
    """The table as an HTML fragment."""
    header, texts, bold = _drop_empty(table, titles)
    head = "".join(f"<th>{html.escape(h)}</th>" for h in header)
    body = []
    for row, marks in zip(texts, bold, strict=True):
        cells = [
            f"<td>{'<b>' if b else ''}{_two_lines(t)}{'</b>' if b else ''}</td>"
            for t, b in zip(row, marks, strict=True)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _two_lines(text: str) -> str:
    """A cell's markup: the interval on a line of its own, so that four metrics fit on a page."""
    value, bracket, interval = text.partition(" [")
    return html.escape(value) + (f"<small>{html.escape(bracket.strip() + interval)}</small>" if bracket else "")


def caption(table: Table, titles: dict[str, str]) -> str:
    """What is shown and how it was computed."""
    sizes = "; ".join(f"{titles.get(c, c)}: {n}" for c, n in table.n.items())
    return f"{table.legend} {sizes}.{' ' + table.note if table.note else ''}"


def write_table(table: Table, folder: Path, titles: dict[str, str]) -> None:
    """Write ``{name}.csv``, ``.md``, ``.tex`` and ``.html`` into ``folder``."""
    with atomic_path(folder / f"{table.name}.csv") as part:
        to_frame(table).to_csv(part, index=False, float_format="%.6g")
    write_text(folder / f"{table.name}.md", to_markdown(table, titles))
    write_text(folder / f"{table.name}.tex", to_latex(table, titles))
    write_text(folder / f"{table.name}.html", to_html(table, titles))
