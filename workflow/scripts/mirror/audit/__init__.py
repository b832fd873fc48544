"""The leak audit: checks, provenance, verdict."""
