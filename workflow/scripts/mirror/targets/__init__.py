"""One file per kind of target: who is usable, strata, heads, rows, metrics."""
