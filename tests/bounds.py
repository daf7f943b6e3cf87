"""Results against the oracle, within the accuracy that DESIGN.md promises."""

import numpy as np

import oracle


def assert_within(got, exact, size, terms, growth=1):
    """Each element within growth * terms * eps of the same sum over absolute values (`size`).

    `terms` counts what was added, per element or for all.  For float64 the oracle rounds as well: eps is twice the unit
    roundoff, so the bound has room for both.
    """
    assert got.shape == exact.shape, f"shape {got.shape}, needed {exact.shape}"
    error, bound = abs(got - exact), growth * terms * np.finfo(got.dtype).eps * size
    wrong = ~(error <= bound)  # a NaN is wrong, too
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{wrong.sum()} of {wrong.size} elements are off; the first at {at}: {got[at]!r}, needed {exact[at]!r}"
        )


def exact_and_bound(operation, *arrays, **options):
    """(exact, size, terms) of a convolution by the oracle: of the arrays, of their absolute values, and with ones for each."""
    value = operation(*arrays, **options)
    size = operation(*(abs(a) if isinstance(a, np.ndarray) else a for a in arrays), **options)
    terms = operation(*(np.ones(a.shape) if isinstance(a, np.ndarray) else a for a in arrays), **options)
    return value, size, terms


def conv2d(case, x, w, b):
    return exact_and_bound(oracle.conv2d, x, w, b, **case.options)


def conv2d_input_grad(case, dy, w):
    return exact_and_bound(oracle.conv2d_input_grad, dy, w, case.x_shape, **case.options)


def conv2d_weight_grad(case, dy, x):
    return exact_and_bound(oracle.conv2d_weight_grad, dy, x, case.w_shape, **case.options)
