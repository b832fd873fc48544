"""The size that a compressed picture claims, read from its header before anything is decoded."""

from __future__ import annotations

import struct


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG's frame header states; None where there is none."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        if marker == 0xDA:
            return None
        at += 2 + (0 if marker == 0x01 or 0xD0 <= marker <= 0xD8 else int.from_bytes(data[at + 2 : at + 4], "big"))
    return None


def jpeg2000_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG 2000 codestream's SIZ states; None where there is none."""
    start = data[:4096].find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) < start + 24:
        return None
    wide, high, left, top = struct.unpack(">4I", data[start + 8 : start + 24])
    return wide - left, high - top
