"""Text of users as it may reach a log, a page or a terminal."""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that move a cursor, clear a screen or turn a line round; tabs and line ends are not among them."""
_USER = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@'\"<>]*:[^/\s'\"<>]*@")
_TOKEN = re.compile(
    r"(?P<name>[?&](?:[a-z_-]*token|key|api_key|apikey|signature|sig|password|secret|x-amz-[a-z-]+|auth)=)[^&\s'\"<>]+",
    re.IGNORECASE,
)


def printable(text: str) -> str:
    """Return ``text`` with control characters written out (``\\x1b``) and passwords in addresses masked."""
    return mask_secrets(CONTROL.sub(lambda hit: f"\\x{ord(hit.group()):02x}", text))


def mask_secrets(text: str) -> str:
    """Return ``text`` with ``user:password@`` and tokens of web addresses replaced by ``***``."""
    if "://" not in text:
        return text
    return _TOKEN.sub(lambda hit: hit["name"] + "***", _USER.sub(lambda hit: hit["scheme"] + "***@", text))
