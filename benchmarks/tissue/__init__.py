"""Parts of real_tissue.py."""
