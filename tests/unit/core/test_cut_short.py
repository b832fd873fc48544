"""Lists that end before their end."""

from __future__ import annotations

from mirror.core.cut_short import ends_early, tail_absent

NAMES = [f"P{i:02d}" for i in range(30)]
GENES = [f"G{i}" for i in range(400)]


def test_the_last_patients_are_missing() -> None:
    assert tail_absent(NAMES[:20], NAMES[20:]) and tail_absent([n for n in NAMES[:20] for _ in "12"], NAMES[20:])
    assert not tail_absent(NAMES[:20], NAMES[18:28:5])  # one of them is not at the end
    assert not tail_absent(NAMES[:20], NAMES[20:22]) and not tail_absent(NAMES[:20], [])  # chance would do
    assert not tail_absent(NAMES[:8], NAMES[8:])
    assert not tail_absent(NAMES[19::-1], NAMES[20:])


def test_the_beginning_of_a_longer_list() -> None:
    assert ends_early(GENES[:250], GENES) == "G249"
    assert ends_early(set(GENES[:250]) | {"OTHER"}, GENES) == "G249"
    assert ends_early(GENES, GENES) == "" == ends_early(GENES[:390], GENES)  # ten missing are few
    assert ends_early(GENES[::2], GENES) == "" == ends_early(GENES[100:], GENES) == ends_early(["X"], GENES)
