"""Augmentation by whole pixels, and averages over several views."""

import numpy as np
import pytest

import fastconv as fc
from fastconv.training import AlternatingFlip, Augment, Crop, Cutout, Flip, Shift, Views

X = np.random.default_rng(0).integers(1, 256, (40, 7, 9, 3), np.uint8)


def rng(seed=1):
    return np.random.default_rng(seed)


ALL = (Flip(), Shift(2), Shift(1, 3, "reflect"), Crop(3, "edge"), Cutout(4, fill=9), Augment(Crop(2), Flip(), Cutout(3)))


@pytest.mark.parametrize("augment", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_keep_shape_and_type_and_the_generator_decides(augment, dtype):
    x = X.astype(dtype)
    x.flags.writeable = False
    first, again, other = (augment(x, rng(seed)) for seed in (1, 1, 2))
    assert first.shape == x.shape and first.dtype == dtype
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_a_flip_is_the_mirror_image_or_the_image():
    flipped = Flip()(X, rng())
    mirrored = [np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, X, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(flipped, X, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True)) and 8 < sum(mirrored) < 32
    assert np.array_equal(Flip(1)(X, rng()), X[:, :, ::-1]) and np.array_equal(Flip(0)(X, rng()), X)


class Seen:
    """Keeps what augmentation made of each image, (N, H, W, 1) with the image's number in it, in each epoch."""

    wants_place = True

    def __init__(self):
        self.epochs = {}

    def __call__(self, x, random, place=None):
        self.epochs.setdefault(place.epoch, {}).update(zip(place.rows.tolist(), x[:, 0, :, 0].tolist(), strict=True))
        return x


def seen(seed=0, epochs=4, first=0):
    """{epoch: {row: its pixels}} of images [2 i, 2 i + 1] in `Trainer.fit`, held out ones apart."""
    x = np.arange(80, dtype=np.float32).reshape(40, 1, 2, 1)
    watch = Seen()
    net = fc.Sequential([fc.Flatten(), fc.Dense(2)], input_shape=(1, 2, 1))
    trainer = fc.Trainer(net, fc.optim.SGD(1e-6), seed=seed)
    trainer.epochs = first
    fit = {"epochs": epochs - first, "batch_size": 7, "validation": 0.25, "verbose": 0}
    trainer.fit(x, np.arange(40) % 2, augment=Augment(AlternatingFlip(), watch), **fit)
    return watch.epochs


def test_alternating_flips_show_every_image_and_its_mirror_image_in_two_epochs():
    epochs = seen()
    assert sorted(epochs) == [0, 1, 2, 3] and all(len(shown) == 30 for shown in epochs.values())
    for row, pixels in epochs[0].items():
        assert sorted(pixels) == [2 * row, 2 * row + 1]
        assert epochs[1][row] == pixels[::-1] and epochs[2][row] == pixels and epochs[3][row] == pixels[::-1]
    assert 5 < sum(pixels[0] % 2 for pixels in epochs[0].values()) < 25  # each image has a coin of its own


def test_alternating_flips_depend_on_seed_epoch_and_image_alone():
    first = seen()
    assert seen() == first == {**seen(epochs=2), **seen(first=2)}
    assert any(pixels != first[0].get(row, pixels) for row, pixels in seen(seed=1)[0].items())


def test_alternating_flips_need_a_run():
    with pytest.raises(fc.OptionError, match="needs the place of the batch in a run"):
        Augment(Shift(1), AlternatingFlip())(X, rng())


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_each_shift_is_a_window_of_the_padded_image_and_all_windows_come(mode):
    x = np.repeat(X[:1], 400, axis=0)
    moved = Shift(1, 2, mode)(x, rng())
    framed = np.pad(X[0], ((1, 1), (2, 2), (0, 0)), mode)
    windows = {framed[r : r + 7, c : c + 9].tobytes() for r in range(3) for c in range(5)}
    assert {image.tobytes() for image in moved} == windows


def test_a_crop_moves_images_each_by_itself():
    moved = Crop(4)(X, rng())
    found = set()
    for old, new in zip(X, moved, strict=True):
        framed = np.pad(old, ((4, 4), (4, 4), (0, 0)))
        places = [(r, c) for r in range(9) for c in range(9) if np.array_equal(framed[r : r + 7, c : c + 9], new)]
        assert len(places) == 1
        found.add(places[0])
    assert len(found) > 20


def test_what_comes_in_has_the_colour_asked_for():
    moved = Crop(4, fill=(7, 0, 300.5))(X.astype(np.float32), rng())
    for old, new in zip(X, moved, strict=True):
        framed = np.empty((15, 17, 3), np.float32)
        framed[...] = (7, 0, 300.5)
        framed[4:11, 4:13] = old
        assert any(np.array_equal(framed[r : r + 7, c : c + 9], new) for r in range(9) for c in range(9))
    corner = list(Views(flip=False, shift=7, fill=(1, 2, 3))(X))[1]
    assert (corner == (1, 2, 3)).all(-1)[:, :7, :7].all()


def test_a_cutout_is_a_square_with_its_centre_in_the_image():
    holes = (Cutout(4, fill=0)(X, rng()) == 0).all(-1)
    unchanged = ~holes
    assert np.array_equal(np.where(unchanged[..., None], X, 0), Cutout(4)(X, rng()))
    for hole in holes:
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert 2 <= len(rows) <= 4 and 2 <= len(columns) <= 4 and hole.sum() == len(rows) * len(columns)
    assert {int(hole.sum()) for hole in holes} > {16}


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Flip(2), "probability: got 2"),
        (lambda: Shift(-1), "rows: got -1"),
        (lambda: Crop(2, "mirror"), "mode: got 'mirror'"),
        (lambda: Cutout(0), "size: got 0"),
        (lambda: Augment(Flip(), 3), "augment: step 1: got 3"),
        (lambda: Views(shift=-1), "shift: got -1"),
        (lambda: Views(mode="mirror"), "mode: got 'mirror'"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(fc.OptionError, match=message):
        make()


def trained(loss="softmax_cross_entropy", outputs=3, seed=0):
    layers = [fc.Normalize(128, 64), fc.Conv2D(4, 3), fc.Flatten(), fc.Dense(outputs)]
    net = fc.Sequential(layers, input_shape=(7, 9, 3), seed=seed)
    return fc.Trainer(net, loss=loss)


def test_views_are_the_image_its_corners_and_their_mirror_images():
    views = list(Views(flip=True, shift=2)(X))
    framed = np.pad(X, ((0, 0), (2, 2), (2, 2), (0, 0)))
    expected = [framed[:, r : r + 7, c : c + 9] for r, c in ((2, 2), (0, 0), (0, 4), (4, 0), (4, 4))]
    assert all(np.array_equal(a, b) for a, b in zip(views[::2], expected, strict=True))
    assert all(np.array_equal(a, b[:, :, ::-1]) for a, b in zip(views[1::2], expected, strict=True))
    assert [v.tobytes() for v in Views(flip=False)(X)] == [X.tobytes()]
    reflected = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    assert np.array_equal(list(Views(flip=False, shift=1, mode="reflect")(X))[4], reflected[:, 2:9, 2:11])


@pytest.mark.parametrize(
    "loss, outputs, y",
    [
        ("softmax_cross_entropy", 3, np.arange(40) % 3),
        ("binary_cross_entropy", 1, np.arange(40) % 2),
        ("mean_squared_error", 2, np.arange(80.0).reshape(40, 2)),
    ],
)
def test_answers_to_all_views_are_averaged_and_judged(loss, outputs, y):
    trainer = trained(loss, outputs)
    mean = np.mean([trainer.predict(v) for v in (X, X[:, :, ::-1])], axis=0)
    found = trainer.predict(X, batch_size=7, views=Views())
    np.testing.assert_allclose(found, mean, rtol=1e-5)
    judged = trainer.evaluate(X, y, batch_size=16, views=Views())
    p = mean.astype(np.float64)
    if outputs == 3:
        assert judged["loss"] == pytest.approx(-np.log(p[np.arange(40), y]).mean(), rel=1e-5)
        assert judged["accuracy"] == (mean.argmax(-1) == y).mean()
    elif outputs == 1:
        assert judged["loss"] == pytest.approx(-np.log(np.where(y == 1, p[:, 0], 1 - p[:, 0])).mean(), rel=1e-5)
    else:
        assert judged["loss"] == pytest.approx(((p - y) ** 2).mean(), rel=1e-5)


def test_an_ensemble_is_judged_by_all_views():
    nets = [trained(seed=seed).net for seed in (0, 1)]
    y = np.arange(40) % 3
    mean = np.mean([net.predict(view) for net in nets for view in (X, X[:, :, ::-1])], axis=0)
    found = fc.evaluate(fc.Ensemble(nets), X, y, views=Views(), batch_size=9)
    assert found.accuracy == (mean.argmax(-1) == y).mean()
    np.testing.assert_allclose(found.probabilities, mean, rtol=1e-5)


def test_no_view_at_all_is_refused():
    with pytest.raises(fc.errors.OptionError, match="gave no view"):
        trained().predict(X, views=lambda x: [])


def test_one_view_is_the_plain_answer():
    trainer = trained()
    np.testing.assert_allclose(trainer.predict(X, views=Views(flip=False)), trainer.predict(X), rtol=1e-6)


@pytest.mark.parametrize("augment", [Shift(1, fill=-1), Crop(1, fill=300), Cutout(3, fill=(1, 2, -3))], ids=repr)
def test_a_fill_beyond_the_bytes_of_the_images_is_refused(augment):
    with pytest.raises(fc.OptionError, match=r"fill: got .* for images of uint8; needed 0 to 255"):
        augment(X, rng())
    assert np.isfinite(augment(X.astype(np.float32), rng())).all()
