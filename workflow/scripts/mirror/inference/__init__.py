"""From checkpoint and data to embeddings."""
