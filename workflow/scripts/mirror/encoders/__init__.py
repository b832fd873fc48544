"""Patch encoders: table, weights, building, running."""
