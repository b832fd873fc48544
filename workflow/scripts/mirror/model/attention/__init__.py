"""Attention: exact, Nystroem and their parts."""
