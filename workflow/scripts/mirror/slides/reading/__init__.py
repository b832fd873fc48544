"""Opening and reading slide files."""
