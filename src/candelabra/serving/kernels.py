"""What numba need not look for in a process that only serves."""

from __future__ import annotations

import sys

__all__ = ["skip_blas_probe"]


def skip_blas_probe() -> None:
    """Keep numba from importing all of ``scipy.linalg`` (0.3 s, 16 MiB) when it loads its first kernel.

    It asks there for a BLAS that only ``np.convolve`` and ``np.correlate`` of a kernel would use; none here does. A kernel with
    ``np.dot`` asks again by itself. For a process whose kernels are ours alone; without effect when numba has looked already.
    """
    if "scipy.linalg" in sys.modules or "numba.np.arraymath" in sys.modules:
        return
    sys.modules["scipy.linalg"] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        del sys.modules["scipy.linalg"]
