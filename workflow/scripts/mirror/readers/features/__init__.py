"""Patch features that other tools wrote: TRIDENT, CLAM, STAMP, plain tensors."""
