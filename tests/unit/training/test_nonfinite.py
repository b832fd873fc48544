"""A loss that is not finite: the message says which kind it is."""

from __future__ import annotations

import pytest
import torch

from mirror.core.errors import InputError
from mirror.training.nonfinite import raise_not_finite


def test_half_precision_overflow_is_called_so():
    with pytest.raises(InputError, match=r"overflowed in half precision \(float16, largest 6\.55e\+04\)") as told:
        raise_not_finite(None, None, 1, 2, ["S1"], torch.float16)
    assert "train.precision: float32" in str(told.value)
    with pytest.raises(InputError, match="though every input is") as plain:
        raise_not_finite(None, None, 1, 2, ["S1"])
    assert "half precision" not in str(plain.value)


def test_a_culprit_comes_before_the_precision():
    with pytest.raises(InputError, match="patient P1"):
        raise_not_finite({"patient": "P1", "problem": "3 genes are NaN"}, None, 1, 2, ["S1"], torch.float16)
