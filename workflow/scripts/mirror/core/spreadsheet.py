"""Text that a spreadsheet must not take for a formula."""

from __future__ import annotations

import re

_RISKY = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?$")


def escape_formula(text: object) -> str:
    """Return ``text`` so that a spreadsheet shows it instead of running it.

    A leading apostrophe is put before text that begins with ``= + - @``, a tab or a carriage
    return (also behind spaces or quotes); numbers, signed ones included, stay as they are.

    Parameters
    ----------
    text : object
        A cell a user wrote (label, site, title ...); anything else is turned into text.

    Returns
    -------
    str
    """
    text = str(text)
    start = text.lstrip(" \n'\"")
    if text.startswith(("\t", "\r")) or (start.startswith(_RISKY) and not _NUMBER.match(start)):
        return text if text.startswith("'") else "'" + text
    return text
