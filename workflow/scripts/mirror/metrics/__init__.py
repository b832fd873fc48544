"""Pure functions of arrays: classification, survival, retrieval, statistics."""
