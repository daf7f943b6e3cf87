"""The examples that lectures start with: filters that are learned, a detector of one thing, a filter for one colour."""

import numpy as np
import pytest

import fastconv as fc


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Thousands of tiny calls: threads would only wait for each other."""
    before = fc.get_threads()
    fc.set_threads(1)
    yield
    fc.set_threads(before)


@pytest.mark.parametrize("name", ["sobel_x", "diagonal_45"])
def test_gradient_descent_recovers_an_edge_filter(name):
    """Nobody designs the nine numbers: pictures and their edges are enough."""
    wanted = getattr(fc.edges, name)
    x = np.random.default_rng(0).standard_normal((64, 12, 12, 1)).astype(np.float32)
    y = fc.conv2d(x, wanted[:, :, None, None])
    net = fc.Sequential([fc.Conv2D(1, 3)], input_shape=(12, 12, 1), seed=1)
    trainer = fc.Trainer(net, fc.optim.SGD(0.2), loss="mean_squared_error")
    before = trainer.evaluate(x, y)["loss"]
    trainer.fit(x, y, epochs=12, batch_size=16, verbose=0)
    np.testing.assert_allclose(net.layers[0].params["w"][:, :, 0, 0], wanted, atol=1e-3)
    np.testing.assert_allclose(net.layers[0].params["b"], 0, atol=1e-3)
    assert trainer.evaluate(x, y)["loss"] < 1e-6 * before


def test_the_gradient_of_one_filter_by_hand():
    """The same without layers: w <- w - lr dL/dw, with dL/dw from `conv2d_weight_grad`."""
    x = np.random.default_rng(0).standard_normal((16, 10, 10, 1))
    wanted = fc.edges.sobel_x.astype(np.float64)[:, :, None, None]
    y, w = fc.conv2d(x, wanted), np.zeros((3, 3, 1, 1))
    for _ in range(60):
        difference = fc.conv2d(x, w) - y
        w -= 0.4 * fc.conv2d_weight_grad(2 * difference / difference.size, x, w.shape)
    np.testing.assert_allclose(w, wanted, atol=1e-6)


def cats(count, seed):
    """Noise, and in every second picture a face: two ears over a disc, anywhere.  (images uint8 (N, 32, 32, 3), labels 0 / 1)."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 120, (count, 32, 32, 3))
    labels = np.arange(count) % 2
    r, c = np.mgrid[0:14, 0:14]
    ears = (r < 5) & ((abs(c - 2) <= r / 2) | (abs(c - 11) <= r / 2))
    face = ears | ((r - 8.5) ** 2 + (c - 6.5) ** 2 < 26)
    x[labels == 1] = [place(image, face, random) for image in x[labels == 1]]
    return x.astype(np.uint8), labels


def place(image, face, random):
    """The image with a face somewhere."""
    top, left = random.integers(0, 18, 2)
    image[top : top + 14, left : left + 14][face] += 120
    return image


def test_one_output_learns_cat_or_not():
    (x, y), (x_test, y_test) = cats(400, 1), cats(200, 2)
    net = fc.models.cat_or_not((32, 32, 3), normalize=(70, 50), seed=0)
    trainer = fc.Trainer(net, fc.optim.Adam(5e-3), loss="binary_cross_entropy")
    history = trainer.fit(x, y, epochs=6, batch_size=32, validation=(x_test, y_test), verbose=0)
    assert history.history["val_accuracy"][-1] >= 0.97
    answers = net.predict(x_test)
    assert answers.shape == (200, 1) and answers.min() >= 0 and answers.max() <= 1
    assert ((answers[:, 0] > 0.5) == y_test).mean() == pytest.approx(history.history["val_accuracy"][-1])


def test_a_red_filter_sees_red_edges_only():
    image = np.zeros((1, 6, 6, 3), np.float32)
    image[:, :, :3, 0] = 10  # a red half
    image[:, 3:, :, 2] = 10  # a blue half, whose edge lies the other way
    red = fc.conv2d(image, fc.edges.on_channels(fc.edges.vertical, "red"))[0, :, :, 0]
    np.testing.assert_array_equal(red, [[0, 30, 30, 0]] * 4)
    blue = fc.conv2d(image, fc.edges.on_channels(fc.edges.horizontal, "blue"))[0, :, :, 0]
    np.testing.assert_array_equal(blue, [[0] * 4, [-30] * 4, [-30] * 4, [0] * 4])
    assert not fc.conv2d(image, fc.edges.on_channels(fc.edges.vertical, "green")).any()
    everything = fc.conv2d(image, fc.edges.on_channels(fc.edges.vertical, "all"))[0, :, :, 0]
    np.testing.assert_array_equal(everything, red)  # the blue edge is horizontal
