"""Bad input: each row is a mistake, the class of its error, and what its line must say: what came, what was needed, a way out."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.errors import DataError, DTypeError, FastconvError, MemoryLimitError, ModelFileError, OptionError, ShapeError

X, W, B = np.ones((2, 9, 8, 6), np.float32), np.ones((3, 3, 6, 4), np.float32), np.ones(4, np.float32)
DY = np.ones((2, 7, 6, 4), np.float32)
ONE = np.ones((1, 1), np.float32)


def net(*layers, shape=(8, 8, 1)):
    return fc.Sequential(list(layers), input_shape=shape)


def trainer(**options):
    return fc.Trainer(net(fc.Flatten(), fc.Dense(3)), optimizer=fc.optim.SGD(0.1), **options)


IMAGES, LABELS = np.ones((4, 8, 8, 1), np.float32), np.array([0, 1, 2, 1])

MISTAKES = {
    # shapes of a convolution
    "channels differ": (
        lambda: fc.conv2d(X, W[:, :, :5]),
        ShapeError,
        ["6 channels", "(axis 2)", "needed 5", "use filters with 6"],
    ),
    "NCHW by mistake": (lambda: fc.conv2d(X.transpose(0, 3, 1, 2), W), ShapeError, ["looks like (N, C, H, W)", 'layout="NCHW"']),
    "kernel too large": (
        lambda: fc.conv2d(X[:, :2], W),
        ShapeError,
        ["height", "spans 3", "has 2", "add 1 padding", "at most 2"],
    ),
    "dilated kernel too large": (lambda: fc.conv2d(X, W, dilation=5), ShapeError, ["spans 11 pixels", "add 2 padding"]),
    "five axes": (lambda: fc.conv2d(X[None], W), ShapeError, ["5 axes", "a batch of 4"]),
    "one axis": (lambda: fc.conv2d(X[0, 0, 0], W), ShapeError, ["x: got 1 axes"]),
    "plane and bank": (lambda: fc.conv2d(X[0, :, :, 0], W), ShapeError, ["x has 2 axes, w 4", "x[..., None]"]),
    "bank and plane": (lambda: fc.conv2d(X, W[:, :, 0, 0]), ShapeError, ["w 2", "goes with an (H, W) image"]),
    "colours and plane": (
        lambda: fc.conv2d(X[0], W[:, :, 0, 0]),
        ShapeError,
        ["x has 3 axes, w 2", "x[..., 0]", "edges.on_channels"],
    ),
    "arrays for shapes of a gradient": (lambda: fc.conv2d_input_grad(DY, W, X), ShapeError, ["x_shape: got an array", "pass"]),
    "arrays for shapes of a plan": (lambda: fc.plan(X, W), ShapeError, ["x_shape: got an array of shape (2, 9, 8, 6)"]),
    "an array for the shape of a matrix": (
        lambda: fc.connection_matrix(ONE, X),
        ShapeError,
        ["x_shape: got an array", "x.shape"],
    ),
    "unknown option of a matrix": (
        lambda: fc.connection_matrix(ONE, (4, 4), strid=2),
        OptionError,
        ["unknown option 'strid'", "stride=2"],
    ),
    "count_include_pad a word": (
        lambda: fc.avg_pool2d(X, 2, count_include_pad="no"),
        OptionError,
        ["count_include_pad: got 'no'", "True or False"],
    ),
    "return_argmax a word": (lambda: fc.max_pool2d(X, 2, return_argmax="no"), OptionError, ["return_argmax: got 'no'"]),
    "less than the padding": (
        lambda: fc.zero_pad2d_grad(ONE[None, None], 3),
        ShapeError,
        ["dy: got shape (1, 1, 1, 1)", "at least the padding"],
    ),
    "slope a word": (lambda: fc.leaky_relu(X, slope="x"), OptionError, ["slope: got 'x'", "a number"]),
    "alpha of elu a word": (lambda: fc.elu(X, "x"), OptionError, ["alpha: got 'x'"]),
    "alpha of a norm a word": (lambda: fc.local_response_norm(X, alpha="x"), OptionError, ["alpha: got 'x'"]),
    "eps below zero": (
        lambda: fc.batch_norm(X[..., :4], B, B, mean=B, var=B, eps=-1),
        OptionError,
        ["eps: got -1", "at least 0"],
    ),
    "variance below zero": (
        lambda: fc.batch_norm(X[..., :4], B, B, mean=B, var=-B),
        OptionError,
        ["var: got -1.0", "at least 0"],
    ),
    "a value without a gradient": (
        lambda: fc.gradcheck(lambda p: float(p.sum()), B),
        OptionError,
        ["the function gave 4.0", "(value, gradient)"],
    ),
    "after a number": (lambda: fc.design(224, output=112, after=3), OptionError, ["after: got 3", "ReceptiveField"]),
    "long doubles": (lambda: fc.conv2d(X.astype(np.longdouble), W), DTypeError, ["x: got dtype", "at most 64 bits"]),
    "an option that is a dict": (lambda: fc.conv2d(X, W, stride={1: 2}), OptionError, ["got {1: 2}", "stride"]),
    "three axes of w": (lambda: fc.conv2d(X, W[0]), ShapeError, ["w: got 3 axes", "(KH, KW, C / groups, O)"]),
    "empty kernel": (lambda: fc.conv2d(X, W[:0]), ShapeError, ["0x3 has no taps"]),
    "no filters": (lambda: fc.conv2d(X, W[..., :0]), ShapeError, ["0 filters", "at least 1"]),
    "no pixels": (lambda: fc.conv2d(X[:, :0], W, padding=2), ShapeError, ["0x8 pixels", "at least 1x1"]),
    "groups do not divide": (lambda: fc.conv2d(X, W, groups=4), ShapeError, ["groups: 4", "6 channels of x", "divisor of 6"]),
    "long bias": (lambda: fc.conv2d(X, W, np.ones(5)), ShapeError, ["b: got shape (5,)", "needed (4,)"]),
    "dy of another shape": (
        lambda: fc.conv2d_input_grad(DY, W, X.shape, stride=2),
        ShapeError,
        ["dy: got (2, 7, 6, 4)", "(2, 4, 3, 4)"],
    ),
    "dy for the weights": (
        lambda: fc.conv2d_weight_grad(DY[:1], X, W.shape),
        ShapeError,
        ["dy: got (1, 7, 6, 4)", "(2, 7, 6, 4)"],
    ),
    "more numbers than memory": (lambda: fc.plan((1, 10**30, 5, 2), W.shape), ShapeError, ["x_shape: got (1, 1000", "no more"]),
    "w_shape below zero": (lambda: fc.plan(X.shape, (3, 3, -6, 4)), ShapeError, ["w_shape: got (3, 3, -6, 4)", "negative"]),
    "w_shape of words": (lambda: fc.conv2d_weight_grad(DY, X, (3, 3, 6, "4")), ShapeError, ["w_shape", "needed whole numbers"]),
    "stride beyond all images": (
        lambda: fc.conv2d(X, W, stride=10**25),
        OptionError,
        ["stride: got 1000", "at most 2,147,483,647"],
    ),
    "pooling beyond all images": (lambda: fc.max_pool2d(X, 2, stride=10**25), OptionError, ["stride: got 1000", "at most"]),
    "flip a word": (lambda: fc.conv2d(X, W, flip="no"), OptionError, ["flip: got 'no'", "needed True", "or False"]),
    "zeros by a word": (lambda: fc.zero_pad2d(X, "same"), OptionError, ["padding: got 'same'", "such as 1 or (1, 2)"]),
    "direction a list": (lambda: fc.plan(X.shape, W.shape, direction=["forward"]), OptionError, ["direction: got ['forward']"]),
    "unknown mode of a chain": (lambda: fc.plans.plan_chain((), "float32", "bogus"), OptionError, ["mode: got 'bogus'"]),
    "shape without argmax": (
        lambda: fc.max_pool2d_grad(X[:, :4, :4], X.shape, 2),
        OptionError,
        ["argmax: got None", "needed argmax of the forward pass, or x itself"],
    ),
    "unknown option of autotune": (lambda: fc.autotune(X.shape, W.shape, strides=2), OptionError, ["got 'strides'", "stride"]),
    "choices from nowhere": (lambda: fc.load_tuned(None), DataError, ["None: cannot be read as choices of autotune"]),
    "x_shape an int": (lambda: fc.conv2d_input_grad(DY, W, 9), ShapeError, ["x_shape: got 9", "a tuple of"]),
    "w_shape an int": (lambda: fc.conv2d_weight_grad(DY, X, 3), ShapeError, ["w_shape: got 3"]),
    "out too small": (
        lambda: fc.conv2d(X, W, out=np.ones(3)),
        ShapeError,
        ["out: got shape (3,)", "(2, 7, 6, 4)", "numpy.empty"],
    ),
    "out a list": (lambda: fc.conv2d(X, W, out=[]), DTypeError, ["out: got list", "needed an ndarray"]),
    "transposed channels": (lambda: fc.conv2d_transpose(X, W[:, :, :5]), ShapeError, ["6 channels", "(KH, KW, C / groups, O)"]),
    "nothing left": (
        lambda: fc.conv2d_transpose(X[:, :1, :1], W, padding=3),
        ShapeError,
        ["pixels; needed at least 1", "less padding"],
    ),
    # options
    "stride zero": (lambda: fc.conv2d(X, W, stride=0), OptionError, ["stride: got 0", "at least 1"]),
    "stride a fraction": (lambda: fc.conv2d(X, W, stride=1.5), OptionError, ["stride: got 1.5", "whole number"]),
    "three strides": (lambda: fc.conv2d(X, W, stride=(1, 1, 1)), OptionError, ["stride: got (1, 1, 1)", "(height, width)"]),
    "negative padding": (lambda: fc.conv2d(X, W, padding=-1), OptionError, ["padding: got -1", "at least 0"]),
    "unknown padding": (lambda: fc.conv2d(X, W, padding="some"), OptionError, ["'some'", '"valid", "same", "full"']),
    "four flat sides": (lambda: fc.conv2d(X, W, padding=(1, 1, 2, 2)), OptionError, ["((top, bottom), (left, right))"]),
    "dilation zero": (lambda: fc.conv2d(X, W, dilation=0), OptionError, ["dilation: got 0"]),
    "groups zero": (lambda: fc.conv2d(X, W, groups=0), OptionError, ["groups: got 0"]),
    "unknown pad_mode": (lambda: fc.conv2d(X, W, pad_mode="mirror"), OptionError, ["'mirror'", "reflect"]),
    "reflect too wide": (
        lambda: fc.conv2d(X, W, padding=9, pad_mode="reflect"),
        ShapeError,
        ["at most 8 of 9 pixels", "replicate"],
    ),
    "unknown activation": (lambda: fc.conv2d(X, W, activation="gelu"), OptionError, ["'gelu'", '"relu"']),
    "unknown layout": (lambda: fc.conv2d(X, W, layout="HWCN"), OptionError, ["'HWCN'", '"NCHW"']),
    "unknown algorithm": (lambda: fc.conv2d(X, W, algorithm="fft"), OptionError, ["'fft'", "direct"]),
    "unfit algorithm": (
        lambda: fc.conv2d(X, W, stride=3, algorithm="winograd"),
        OptionError,
        ["square filter", 'algorithm="auto"'],
    ),
    "unknown direction": (lambda: fc.plan(X.shape, W.shape, direction="back"), OptionError, ["'back'", "weight_grad"]),
    "output_padding": (
        lambda: fc.conv2d_transpose(X, W, output_padding=1),
        OptionError,
        ["output_padding: got 1", "less than the stride"],
    ),
    "threads zero": (lambda: fc.set_threads(0), OptionError, ["got 0", "from 1 to"]),
    # types
    "complex": (lambda: fc.conv2d(X.astype(complex), W), DTypeError, ["x: got dtype complex128", "astype"]),
    "objects": (lambda: fc.conv2d(X.astype(object), W), DTypeError, ["dtype object"]),
    "text": (lambda: fc.conv2d("image.png", W), DTypeError, ["x: got dtype"]),
    "masked": (lambda: fc.conv2d(np.ma.masked_equal(X, 1), W), DTypeError, ["masked array", "filled(value)"]),
    "ragged lists": (lambda: fc.conv2d([[1, 2], [3]], ONE), ShapeError, ["unequal length", "rectangular"]),
    # pooling, dense, normalisation
    "pool too large": (lambda: fc.max_pool2d(X, 10), ShapeError, ["height", "10", "has 9"]),
    "pool of zero": (lambda: fc.max_pool2d(X, 0), OptionError, ["size: got 0"]),
    "pool padding": (lambda: fc.max_pool2d(X, 2, padding=2), ShapeError, ["more than half of the window of 2", "at most 1"]),
    "argmax of floats": (lambda: fc.max_pool2d_grad(X[:, :4, :4], X, 2, argmax=X), DTypeError, ["argmax", "return_argmax=True"]),
    "dense image": (lambda: fc.dense(X, W), ShapeError, ["x: got 4 axes", "reshape(len(x), -1)"]),
    "dense inputs": (lambda: fc.dense(np.ones((2, 3)), np.ones((4, 5))), ShapeError, ["x has 3 inputs", "w 4"]),
    "norm channels": (lambda: fc.batch_norm_train(X, B, B), ShapeError, ["scale: got shape (4,)", "(6,)"]),
    "dense weights without room": (
        lambda: net(fc.Dense(10**9), shape=(10**4,)).forward(np.ones((1, 10**4))),
        MemoryLimitError,
        ["dense_1 with 10,001,000,000,000 numbers needs", "are free"],
    ),
    "an image without room": (lambda: fc.upsample2d(X, 10**6), MemoryLimitError, ["the result", "are free"]),
    "zeros without room": (lambda: fc.zero_pad2d(X, 10**6), MemoryLimitError, ["the result", "are free"]),
    "transposed groups": (
        lambda: net(fc.Conv2DTranspose(3, 2, groups=2), shape=(4, 4, 4)),
        ShapeError,
        ["conv2d_transpose_1 (layer 1 of 1)", "a multiple of 2 filters"],
    ),
    "no such home": (lambda: fc.data.cifar10("~nobody at all/x"), DataError, ["there is no such home folder"]),
    # networks, training, files
    "layer does not fit": (lambda: net(fc.Conv2D(4, 9)), ShapeError, ["conv2d_1", "spans 9"]),
    "dense before flatten": (lambda: net(fc.Dense(3)), ShapeError, ["dense_1", "Flatten"]),
    "no filters asked": (lambda: fc.Conv2D(0, 3), OptionError, ["filters", "0"]),
    "images of another size": (
        lambda: net(fc.Flatten()).forward(np.ones((1, 7, 8, 1))),
        ShapeError,
        ["(1, 7, 8, 1)", "(N, 8, 8, 1)"],
    ),
    "labels too few": (lambda: trainer().fit(IMAGES, LABELS[:3], verbose=0), ShapeError, ["4", "3"]),
    "label out of range": (lambda: trainer().fit(IMAGES, LABELS + 2, verbose=0), FastconvError, ["got class 3", "3 classes"]),
    "no examples": (lambda: trainer().fit(IMAGES[:0], LABELS[:0], verbose=0), FastconvError, ["0"]),
    "unknown loss": (lambda: trainer(loss="zero_one"), OptionError, ["'zero_one'", "softmax_cross_entropy"]),
    "negative rate": (lambda: fc.optim.SGD(-1.0), OptionError, ["lr", "-1.0"]),
    "missing model": (lambda: fc.load("no such.safetensors"), ModelFileError, ["no such.safetensors"]),
    "wrong suffix": (lambda: net(fc.Flatten()).save("model.pt"), OptionError, ["model.pt", ".safetensors"]),
    "missing data": (lambda: fc.data.mnist("no such folder"), DataError, ["no such folder", "train-images"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_clear_line(mistake):
    call, kind, parts = MISTAKES[mistake]
    with pytest.raises(FastconvError) as caught:
        call()
    line = str(caught.value)
    assert isinstance(caught.value, kind), f"{type(caught.value).__name__}: {line}"
    built_in = ValueError, TypeError, RuntimeError, OSError, MemoryError
    assert isinstance(caught.value, built_in), "an error is also the built-in one"
    for part in parts:
        assert part in line, f"{part!r} is not in: {line}"
    assert len(line.splitlines()[0]) < 400


def test_the_table_is_long_enough():
    assert len(MISTAKES) >= 60
