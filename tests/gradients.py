"""Gradients by central differences: (f(v + h) - f(v - h)) / 2h, element by element, in float64."""

import contextlib

import numpy as np

import fastconv as fc

STEP = 1e-6


def numerical(f, values):
    """Gradient of the number f() with respect to the array `values`, which f reads and this changes in place and restores."""
    gradient = np.empty(values.shape)
    with one_thread():
        for at in np.ndindex(values.shape):
            before = values[at]
            values[at] = before + STEP
            above = f()
            values[at] = before - STEP
            gradient[at] = (above - f()) / (2 * STEP)
            values[at] = before
    return gradient


@contextlib.contextmanager
def one_thread():
    """In thousands of tiny calls threads would only wait for each other."""
    before = fc.get_threads()
    fc.set_threads(1)
    try:
        yield
    finally:
        fc.set_threads(before)


def assert_close(found, expected):
    """Within the error of a central difference: STEP² for the formula, eps / STEP for the rounding of f."""
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7 * max(1.0, np.abs(expected).max(initial=0)))
