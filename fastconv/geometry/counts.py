"""How many parameters a layer has, as a number and in symbols."""

__all__ = ["conv_formula", "conv_parameters", "dense_formula", "dense_parameters"]


def conv_parameters(kh, kw, c_in, c_out, *, groups=1, bias=True):
    """(kh kw c_in / groups + 1) c_out; the image size does not enter.

    >>> conv_parameters(3, 3, 3, 10)
    280
    """
    return (kh * kw * (c_in // groups) + bool(bias)) * c_out


def conv_formula(kh, kw, c_in, c_out, *, groups=1, bias=True):
    """The same in symbols: '(3·3·3 + 1)·10'."""
    taps = f"{kh}·{kw}·{c_in // groups}"
    return f"({taps} + 1)·{c_out}" if bias else f"{taps}·{c_out}"


def dense_parameters(n_in, n_out, *, bias=True):
    """(n_in + 1) n_out."""
    return (n_in + bool(bias)) * n_out


def dense_formula(n_in, n_out, *, bias=True):
    """The same in symbols: '(400 + 1)·120'."""
    return f"({n_in} + 1)·{n_out}" if bias else f"{n_in}·{n_out}"
