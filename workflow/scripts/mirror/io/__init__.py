"""Files that the workflow itself writes: one module per contract."""
