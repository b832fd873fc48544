"""One module per group of figures."""
