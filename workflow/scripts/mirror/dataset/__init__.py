"""One fold in memory: bags, patches, pairs, batches, epochs."""
