"""Recursive feature elimination with cross-validation."""
