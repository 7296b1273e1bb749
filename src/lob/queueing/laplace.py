"""Numerical Laplace transforms: inversion, and the law of a difference of two waiting times."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from lob.bounds import COUNT_MAX, Floats, as_given, numbers, whole
from lob.errors import InvalidInput
from lob.queueing.special import panels

ComplexArray = npt.NDArray[np.complex128]
Transform = Callable[[ComplexArray], ComplexArray]
"""E[exp(-s T)] at complex s, entry by entry."""


def invert_laplace(transform: Transform, t: ArrayLike, *, terms: int = 40) -> Floats:
    """Return f(t) from its Laplace transform by the Euler algorithm; the same shape as `t`.

    Abate and Whitt, "Numerical Inversion of Laplace Transforms of Probability Distributions" (ORSA
    Journal on Computing 7, 1995): the Fourier series of the Bromwich integral with A = 18.4
    (discretisation error about 1e-8), Euler summation of the last 12 partial sums. For a
    distribution function give `lambda s: transform(s) / s`; f must be smooth at t, which is
    above 0.

    >>> round(float(invert_laplace(lambda s: 2 / (s * (s + 2)), 1.0)), 6)
    0.864665
    """
    times = numbers("t", t, above=0)
    terms = whole("terms", terms, 12, COUNT_MAX)
    a, extra = 18.4, 12
    flat = times.ravel()[:, None]
    k = np.arange(terms + extra + 1)
    s = np.asarray((a + 2j * math.pi * k[None, :]) / (2 * flat), dtype=np.complex128)
    signs = np.where(k % 2 == 0, 1.0, -1.0)
    signs[0] = 0.5
    sums = np.cumsum(signs * np.real(transform(s)), axis=1) * math.exp(a / 2) / flat
    weights = np.array([math.comb(extra, j) for j in range(extra + 1)]) / 2**extra
    return as_given((sums[:, terms:] @ weights).reshape(times.shape))


def first_of_two(first: Transform, second: Transform, scale: float) -> float:
    """Return P(X < Y) of independent, finite waiting times with no atoms, from their transforms.

    The transform of X - Y is `first(s) second(-s)`; it is inverted at 0 on the imaginary axis,
    where both exist whatever their tails (Gil-Pelaez, Biometrika 38, 1951; the inversion of
    Cont, Stoikov and Talreja 2010, section 3). `scale` is a typical rate. Accuracy about 1e-6.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise InvalidInput(f"scale: {scale!r}; allowed: a finite number above 0")
    nodes, weights = panels(math.log(1e-20), math.log(1e7), 64)
    s = 1j * scale * np.exp(nodes)
    # E[exp(i w (X - Y))] is first(-i w) second(i w); dw / w is the step of log w.
    imaginary = np.imag(np.conj(first(s)) * second(s))
    return 0.5 - float(np.sum(weights * imaginary)) / math.pi
