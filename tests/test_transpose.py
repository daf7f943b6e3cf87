"""Transposed convolution: against stamps of the filter, against the input gradient, and against PyTorch."""

from types import SimpleNamespace

import numpy as np
import pytest

import bounds
import fastconv as fc
import oracle
from cases import draw
from fastconv import plans
from fastconv.geometry import ConvGeometry
from routes import FLOATS

# x shape, filter size, outputs, options
CALLS = {
    "3x4-k3": ((2, 3, 4, 2), (3, 3), 5, {}),
    "1x1": ((1, 1, 1, 1), (2, 3), 1, {}),
    "k1": ((2, 3, 4, 17), (1, 1), 3, {}),
    "s2": ((2, 3, 4, 3), (3, 3), 4, {"stride": 2}),
    "s2-p1-extra1": ((2, 3, 4, 3), (3, 3), 4, {"stride": 2, "padding": 1, "output_padding": 1}),
    "s3x2-extra2x1": ((1, 3, 2, 2), (2, 4), 3, {"stride": (3, 2), "output_padding": (2, 1)}),
    "s3-k1": ((1, 3, 2, 2), (1, 1), 3, {"stride": 3}),
    "four-sides": ((2, 4, 3, 2), (3, 4), 2, {"stride": 2, "padding": ((1, 2), (0, 3)), "output_padding": (0, 1)}),
    "valid": ((2, 4, 3, 2), (3, 4), 2, {"stride": 2, "padding": "valid"}),
    "same-s2": ((2, 4, 3, 2), (3, 4), 2, {"stride": 2, "padding": "same"}),
    "same-s3-k2": ((1, 4, 3, 2), (2, 1), 2, {"stride": 3, "padding": "same"}),
    "d2": ((2, 4, 5, 2), (3, 2), 3, {"dilation": (2, 3), "padding": (2, 1)}),
    "d2-s2": ((2, 4, 5, 2), (3, 2), 3, {"dilation": (1, 2), "stride": 2}),
    "g2": ((2, 3, 4, 4), (3, 3), 6, {"groups": 2, "stride": 2, "padding": 1}),
    "depthwise": ((2, 3, 4, 5), (3, 2), 5, {"groups": 5, "stride": (1, 2)}),
    "depthwise-x3": ((2, 3, 4, 4), (2, 2), 12, {"groups": 4, "stride": 2}),
    "65-to-17": ((1, 3, 2, 65), (2, 2), 17, {"padding": 1, "stride": 2, "output_padding": 1}),
    "N0": ((0, 3, 4, 2), (3, 3), 5, {"stride": 2}),
}


def arrays(call, dtype=np.float32, seed=1):
    x_shape, kernel, outputs, options = call
    return draw(seed, dtype, x_shape, (*kernel, x_shape[3] // options.get("groups", 1), outputs), (outputs,))


def served():
    """Every call with every algorithm that accepts the convolution whose input gradient it is."""
    found = []
    for name, call in CALLS.items():
        x, w, _ = arrays(call)
        options = {"padding": 0, **call[3]}
        y_shape = oracle.conv2d_transpose(x, w, **options).shape
        options.pop("output_padding", None)
        geo = ConvGeometry.of(y_shape, (*call[1], call[2] // options.get("groups", 1), x.shape[3]), **options)
        for algorithm in plans.ALGORITHMS:
            for dtype in FLOATS:
                if algorithm.input_grad.fits(geo, np.dtype(dtype)) is None:
                    found.append(pytest.param(call, algorithm, dtype, id=f"{algorithm.name}-{np.dtype(dtype)}-{name}"))
    return found


@pytest.mark.parametrize("call, algorithm, dtype", served())
def test_transposed_convolution_agrees_with_float64(call, algorithm, dtype):
    x, w, b = arrays(call, dtype)
    y = fc.conv2d_transpose(x, w, b, **call[3], algorithm=algorithm.name)
    exact, size = oracle.conv2d_transpose(x, w, b, **call[3]), oracle.conv2d_transpose(abs(x), abs(w), abs(b), **call[3])
    assert y.dtype == dtype
    size = bounds.allowed_size(tiled_as(call, y), algorithm, "input_grad", size)
    bounds.assert_within(y, exact, size, algorithm.input_grad.growth * (np.prod(w.shape[:3]) + 1))


def tiled_as(call, y):
    """What `bounds` asks of a convolution: of the one whose input gradient the call is."""
    options = {"padding": 0, **call[3]}
    options.pop("output_padding", None)
    geo = ConvGeometry.of(y.shape, (*call[1], call[2] // options.get("groups", 1), call[0][3]), **options)
    walk = SimpleNamespace(stride=(geo.sh, geo.sw), dilation=(geo.dh, geo.dw), pad=geo.pads)
    return SimpleNamespace(k=(geo.kh, geo.kw), walk=walk)


@pytest.mark.parametrize("call", [call for call in CALLS.values() if "output_padding" not in call[3]], ids=str)
def test_transposed_convolution_is_the_adjoint_of_a_convolution(call):
    """<conv(y), x> = <y, transposed(x)> for the convolution whose filter has the two kinds of channels exchanged."""
    x, w, _ = arrays(call, np.float64)
    stamped = fc.conv2d_transpose(x, w, **call[3])
    y = draw(2, np.float64, stamped.shape)[0]
    groups = call[3].get("groups", 1)
    parts = [np.swapaxes(part, 2, 3) for part in np.split(w, groups, axis=3)]  # (KH, KW, O / groups, C / groups) of each group
    options = {"padding": 0, **call[3]}
    there = (fc.conv2d(y, np.concatenate(parts, axis=3), **options) * x).sum()
    assert abs(there - (y * stamped).sum()) <= 1e-12 * max(1, (abs(y) * abs(stamped)).sum())


def test_out_rank_layout_and_small_integers():
    x, w, b = arrays(CALLS["s2"])
    y = fc.conv2d_transpose(x, w, b, stride=2)
    one = fc.conv2d_transpose(x[:1], w, b, stride=2)[0]  # a batch of two may go by another algorithm
    np.testing.assert_array_equal(fc.conv2d_transpose(x[0], w, b, stride=2), one, strict=True)
    np.testing.assert_allclose(one, y[0], rtol=1e-5, atol=1e-5)
    nchw = fc.conv2d_transpose(x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), b, stride=2, layout="NCHW")
    np.testing.assert_array_equal(nchw, y.transpose(0, 3, 1, 2), strict=True)
    out = np.full_like(y, np.nan)
    assert fc.conv2d_transpose(x, w, b, stride=2, out=out) is out
    np.testing.assert_array_equal(out, y)
    plane = fc.conv2d_transpose(x[0, :, :, 0], w[:, :, 0, 0], stride=2)
    np.testing.assert_array_equal(plane, fc.conv2d_transpose(x[:1, :, :, :1], w[:, :, :1, :1], stride=2)[0, :, :, 0], strict=True)
    stamps = fc.conv2d_transpose(np.array([[1, 200]], np.uint8), np.array([[1, 2]], np.int8), stride=2)
    np.testing.assert_array_equal(stamps, np.array([[1, 2, 200, 400]], np.float32), strict=True)


def test_inputs_are_never_changed():
    given = arrays(CALLS["65-to-17"])
    copies = [a.copy() for a in given]
    y = fc.conv2d_transpose(*given, **CALLS["65-to-17"][3])
    for array, copy in zip(given, copies, strict=True):
        assert array.tobytes() == copy.tobytes() and not np.shares_memory(array, y)


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution_agrees_with_pytorch(groups):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, w, b = draw(3, np.float64, (2, 4, 3, 4), (3, 2, 4 // groups, 6), (6,))
    wanted = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x.transpose(0, 3, 1, 2).copy()),
        # PyTorch's filters are (C, O / groups, KH, KW): those of group g lie in the rows of its input channels
        torch.from_numpy(np.concatenate([part.transpose(2, 3, 0, 1) for part in np.split(w, groups, axis=3)])),
        torch.from_numpy(b),
        stride=(2, 3),
        padding=(1, 0),
        output_padding=(1, 2),
        groups=groups,
        dilation=(2, 1),
    )
    y = fc.conv2d_transpose(x, w, b, stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=groups, dilation=(2, 1))
    np.testing.assert_allclose(y, wanted.numpy().transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-12)
