"""Patch features that other tools wrote: TRIDENT, CLAM, STAMP, plain tensors."""

from . import clam, pt, stamp, trident

FINDERS = {"trident": trident.find_files, "clam": clam.find_files, "stamp": stamp.find_files, "pt": pt.find_files}
"""By format, the function that lists its files: (folder, encoder) to {name: path}."""
