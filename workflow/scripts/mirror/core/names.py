"""Identifiers as file names."""

from __future__ import annotations

import re
import unicodedata

from .errors import InputError

LONGEST = 200  # bytes; leaves room for suffixes under the usual limit of 255
# Characters that no one sees: zero-width spaces and joiners, directional marks, byte-order marks, soft hyphens.
UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
# Hyphens, dashes and the minus sign that text editors write in place of the one on the keyboard.
DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d"), "-")
FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f]")


def safe_name(name: str, *, what: str = "slide_id") -> str:
    """Return ``name`` when it may be used as a file name as it is, else refuse it.

    Spaces and non-ASCII letters are kept (in Unicode form NFC, so that the same name typed on
    two systems is one file); anything that could leave the output folder, hide the file or be
    refused by the file system is an error, never silently replaced: two slides must not become
    one file.

    Parameters
    ----------
    name : str
        The identifier.
    what : str
        Name of the column it came from, for the message.

    Raises
    ------
    InputError
        For an empty name, path separators, control characters, a leading dot, dash, ``=``, ``+`` or ``@``, ``..``,
        leading or trailing blanks, or more than 200 bytes.
    """
    text = unicodedata.normalize("NFC", str(name))
    problem = None
    if not text.strip():
        problem = "is empty"
    elif FORBIDDEN.search(text):
        problem = "has a path separator or a control character"
    elif text.startswith(".") or text.startswith("-"):
        problem = "begins with a dot or a dash"
    elif text.startswith(("=", "+", "@")):
        problem = f"begins with {text[0]}, which a spreadsheet runs as a formula,"
    elif text != text.strip():
        problem = "begins or ends with a blank"
    elif len(text.encode()) > LONGEST:
        problem = f"is longer than {LONGEST} bytes"
    if problem:
        raise InputError(f"{what} {str(name)[:80]!r} {problem} and cannot be a file name", remedy=f"rename the {what}")
    return text


def without_unseen(text: str) -> str:
    """An identifier without zero-width characters and with plain hyphens: text editors write others."""
    return UNSEEN.sub("", text).translate(DASHES)


def of_two_alphabets(text: str) -> bool:
    """Whether a word mixes Latin and Cyrillic letters, some of which look the same on a screen."""
    return any(
        {"LATIN", "CYRILLIC"} <= {unicodedata.name(letter, "").partition(" ")[0] for letter in word}
        for word in re.findall(r"[^\W\d_]+", text)
    )
