"""One epoch of MNIST, 60,000 images in batches of 64 through LeNet-5 on one channel, and the same loop in PyTorch."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import machine
from fastconv.benchmark.twins import twin

MEAN, STD, BATCH, LR = 33.3, 78.6, 64, 0.05


@pytest.fixture(scope="module")
def digits():
    """Training images and labels, from FASTCONV_DATA or the cache."""
    try:
        return fc.data.mnist()[0]
    except fc.errors.DataError as missing:
        pytest.skip(str(missing))


def lenet(normalize=(MEAN, STD)):
    return fc.models.lenet5((28, 28, 1), padding="same", normalize=normalize)


def timed(benchmark, library, epoch, images):
    benchmark.group = "MNIST, one epoch"
    benchmark.pedantic(epoch, rounds=3, warmup_rounds=1)
    rate = round(images / benchmark.stats.stats.median)
    benchmark.extra_info.update(library=library, threads=machine.get_threads(), images_per_second=rate)


def test_fastconv(benchmark, digits):
    x, y = digits
    trainer = fc.Trainer(lenet(), fc.optim.SGD(LR, momentum=0.9))
    timed(benchmark, "fastconv", lambda: trainer.fit(x, y, epochs=1, batch_size=BATCH, verbose=0), len(x))


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_pytorch(benchmark, torch, digits, layout):
    x, y = digits
    form = torch.contiguous_format if layout == "nchw" else torch.channels_last
    images = torch.from_numpy(((x - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2)).contiguous(memory_format=form)
    labels = torch.from_numpy(y.astype(np.int64))
    model = twin(lenet(None)).to(memory_format=form)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)

    def epoch():
        for rows in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()

    timed(benchmark, f"PyTorch {layout}", epoch, len(images))
