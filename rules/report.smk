# Tables, figures, report.
FIGURES_AND_TABLES = [f"{RESULTS}/metrics.tsv"]
