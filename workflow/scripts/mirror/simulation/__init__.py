"""The simulated cohort: known factors, real slide files, raw counts, and the truth beside them."""
