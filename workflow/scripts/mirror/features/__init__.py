"""From tiles to patch features on disk: embed, share, repair, import."""
