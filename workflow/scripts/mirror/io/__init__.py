"""Reading and writing: this room knows file formats, and no other does."""

from .atomic import atomic_path, write_json, write_text, write_tsv
from .errors import InputError

__all__ = ["InputError", "atomic_path", "write_json", "write_text", "write_tsv"]
