"""What every room shares; imports nothing else of the library, and no third-party package at import."""
