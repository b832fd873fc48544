"""The BLAS and LAPACK routines of the gene elimination, called without Python's global lock.

SciPy's own wrappers (``scipy.linalg.blas``, ``scipy.linalg.lapack``) hold the lock while a routine
runs, so that threads wait for each other. The same routines are exported to Cython as function
pointers (``scipy.linalg.cython_blas`` [1]_); ctypes, which gives the lock back during a call, takes
them from there. Matrices are float64 in Fortran order; only lower triangles are read or written.

References
----------
.. [1] SciPy API reference, "BLAS functions for Cython": the pointers are part of the public API.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

_LOWER, _PLAIN, _TRANSPOSED = b"L", b"N", b"T"


def _routine(module: Any, name: str) -> Any:
    """The routine behind a module's capsule; every argument is an address, as Fortran has it."""
    capsule = module.__pyx_capi__[name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    signature = api.PyCapsule_GetName(capsule)
    if b"int *" not in signature:  # another width of integers would be read as nonsense
        raise ImportError(f"SciPy's {name} has the signature {signature!r}, which is not known here")
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * signature.count(b"*"))(
        api.PyCapsule_GetPointer(capsule, signature)
    )


_dgemm = _routine(cython_blas, "dgemm")
_dsyrk = _routine(cython_blas, "dsyrk")
_dsymv = _routine(cython_blas, "dsymv")
_dpotrf = _routine(cython_lapack, "dpotrf")
_dpotrs = _routine(cython_lapack, "dpotrs")


def _int(value: int) -> Any:
    return ctypes.byref(ctypes.c_int(value))


def _double(value: float) -> Any:
    return ctypes.byref(ctypes.c_double(value))


def _check(*arrays: np.ndarray) -> None:
    for array in arrays:
        if array.dtype != np.float64 or not array.flags.f_contiguous:
            raise ValueError("float64 in Fortran order is needed")


def add_products(gram: np.ndarray, columns: np.ndarray, samples: Sequence[slice], sign: float) -> None:
    """``gram += sign * columns[samples] columns[samples]'``, lower triangle, in place.

    Parameters
    ----------
    gram : ndarray, float64 (n, n), Fortran order
    columns : ndarray, float64 (m, k), Fortran order
        Read where it lies, whichever rows are taken.
    samples : sequence of slice
        Ascending, n rows of ``columns`` together.
    sign : float
    """
    _check(gram, columns)
    m, k = columns.shape
    ends = np.cumsum([piece.stop - piece.start for piece in samples])
    if gram.shape != (ends[-1], ends[-1]) or any(not 0 <= piece.start < piece.stop <= m for piece in samples):
        raise ValueError("the matrices do not fit each other")
    n, depth, lead = _int(len(gram)), _int(k), _int(m)
    factor, one = _double(sign), _double(1.0)
    read, write = columns.ctypes.data, gram.ctypes.data

    def target(row: int, column: int) -> int:
        return write + 8 * (row + column * len(gram))

    for i, (rows, row_end) in enumerate(zip(samples, ends, strict=True)):
        height = rows.stop - rows.start
        row, here = int(row_end) - height, read + 8 * rows.start
        _dsyrk(_LOWER, _PLAIN, _int(height), depth, factor, here, lead, one, target(row, row), n)
        for columns_, column_end in zip(samples[:i], ends, strict=False):
            width = columns_.stop - columns_.start
            there, corner = read + 8 * columns_.start, target(row, int(column_end) - width)
            _dgemm(
                _PLAIN, _TRANSPOSED, _int(height), _int(width), depth, factor, here, lead, there, lead, one, corner, n
            )


def symmetric_times(matrix: np.ndarray, vector: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """``scale * matrix vector`` from the lower triangle, float64 (n,)."""
    vector = np.ascontiguousarray(vector, dtype=np.float64)
    _check(matrix)
    n = len(vector)
    if matrix.shape != (n, n):
        raise ValueError("the matrix does not fit the vector")
    out = np.zeros(n)
    size, step = _int(n), _int(1)
    _dsymv(
        _LOWER,
        size,
        _double(scale),
        matrix.ctypes.data,
        size,
        vector.ctypes.data,
        step,
        _double(0.0),
        out.ctypes.data,
        step,
    )
    return out


def factorise(system: np.ndarray) -> np.ndarray:
    """Cholesky's factor, in the lower triangle of ``system``, which it overwrites.

    Raises
    ------
    numpy.linalg.LinAlgError
        The system is not positive definite.
    """
    _check(system)
    n = len(system)
    if system.shape != (n, n):
        raise ValueError("the system is not square")
    info = ctypes.c_int(0)
    _dpotrf(_LOWER, _int(n), system.ctypes.data, _int(n), ctypes.byref(info))
    if info.value != 0:
        raise np.linalg.LinAlgError("the Gram matrix is not positive definite: the features hold values too large")
    return system


def solve_factored(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``(L L')^-1 right`` for the factor L of :func:`factorise`, float64 (n,) or (n, k) in Fortran order."""
    out = np.array(right, dtype=np.float64, order="F")
    _check(factor)
    n = len(out)
    if factor.shape != (n, n):
        raise ValueError("the factor does not fit the right-hand side")
    columns, info = out.size // max(n, 1), ctypes.c_int(0)
    _dpotrs(_LOWER, _int(n), _int(columns), factor.ctypes.data, _int(n), out.ctypes.data, _int(n), ctypes.byref(info))
    return out
