"""Recipes: settings that are known to train a network well, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fastconv.models import begin_airbench
from fastconv.training.augment import Warp
from fastconv.training.callbacks import Lookahead, ReduceLROnPlateau, fading
from fastconv.training.crops import AlternatingFlip, Augment, Crop, Flip, Shift
from fastconv.training.hooks import as_callbacks
from fastconv.training.losses import Loss, label_smoothed
from fastconv.training.optimizers import SGD, AdaDelta, Adam
from fastconv.training.trainer import Trainer
from fastconv.training.views import Views

__all__ = ["RECIPES", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """Everything but the network and the data; `dataclasses.replace` changes single settings.

    normalize : (mean, std) of the input, for the network's `Normalize` layer
    validation : fraction of the examples to hold out, or None
    callbacks : functions that make a callback each, a new one for each run
    loss : as for `Trainer`
    prepare : function (net, x) that a fresh network and the images are given to before training, or None
    views : what a trained network is to look at in the place of each image, as in `Trainer.evaluate`; None for the image
    """

    normalize: tuple
    optimizer: object
    epochs: int
    batch_size: int
    schedule: str | None = None
    augment: Callable | None = None
    validation: float | None = None
    callbacks: tuple = ()
    loss: str | Loss = "softmax_cross_entropy"
    prepare: Callable | None = None
    views: Callable | None = None

    def settings(self, budget=None):
        """What `Trainer.fit` takes of it, with new callbacks; a budget of time picks the epochs."""
        names = ("batch_size", "schedule", "augment", "validation")
        length = {"epochs": self.epochs} if budget is None else {"budget": budget}
        return {**length, **{name: getattr(self, name) for name in names}, "callbacks": [make() for make in self.callbacks]}

    def trainer(self, net, x, *, seed=None):
        """The `Trainer` of `net`, which is prepared for images x."""
        if self.prepare is not None:
            self.prepare(net, x)
        return Trainer(net, self.optimizer, self.loss, seed=seed)

    def train(self, net, x, y, *, seed=None, **options):
        """Train `net` on examples x, y; `options` as in `Trainer.fit`, before those of the recipe; its callbacks come first.

        Returns the `Trainer`, which has the history.
        """
        trainer, settings = self.trainer(net, x, seed=seed), self.settings(options.get("budget"))
        callbacks = [*settings["callbacks"], *as_callbacks(options.get("callbacks"))]
        trainer.fit(x, y, **{**settings, **options, "callbacks": callbacks})
        return trainer


CIFAR_MEAN = (125.3, 123.0, 113.9)

# digits: LeNet-5 on the embedded digits.  Every setting was chosen by the accuracy on 2,000 of the 10,000 embedded TRAINING
# digits, held out, over five seeds; the test digits played no part.  Held out: 98.0 % (Adam(3e-3) 97.9 with more spread from
# seed to seed; batches of 64 and 18 epochs 97.9; without augmentation 96.3 after 8 epochs).
RECIPES = {
    "digits": Recipe(
        normalize=(33.3, 78.6),  # of MNIST's training images
        optimizer=SGD(0.03, momentum=0.9, nesterov=True),
        epochs=16,
        batch_size=32,
        schedule="one_cycle",
        augment=Warp(),
    ),
    # mnist: `models.small_mnist` in three epochs.  Chosen by 5,000 of the 60,000 training images, held out, and by time: 99.0 and
    # 99.1 % for two seeds (batches of 96 with Adam(5e-3) 99.0 and 99.1 in an eighth more time; filters 16 and 32 99.1 and 99.0;
    # LeNet-5 with 4 epochs of Adam(3e-3) 98.9 and 98.8).
    "mnist": Recipe(normalize=(33.3, 78.6), optimizer=Adam(7e-3), epochs=3, batch_size=128, schedule="one_cycle"),
    # resnet: He et al. 2016, arXiv:1512.03385, section 3.4, from weights as in arXiv:1502.01852 (what our layers begin with):
    # "the learning rate starts from 0.1 and is divided by 10 when the error plateaus"; up to 60e4 iterations are 120 epochs of
    # ImageNet.  Ours: how long a plateau is, and that it is seen on a tenth of the examples, held out.  Mean and deviation of
    # ImageNet's pixels.
    "resnet": Recipe(
        normalize=((123.7, 116.3, 103.5), (58.4, 57.1, 57.4)),
        optimizer=SGD(0.1, momentum=0.9, weight_decay=1e-4),
        epochs=120,
        batch_size=256,
        augment=Flip(),
        validation=0.1,
        callbacks=(partial(ReduceLROnPlateau, "val_accuracy", factor=0.1, patience=5),),
    ),
    # resnet_cifar: the same, section 4.2: batches of 128, 64k iterations (164 epochs), divided by 10 at half and at three
    # quarters of them, 4 pixels of padding and a random crop, mirrored or not.  Mean and deviation of CIFAR-10's training images.
    "resnet_cifar": Recipe(
        normalize=(CIFAR_MEAN, (63.0, 62.1, 66.7)),
        optimizer=SGD(0.1, momentum=0.9, weight_decay=1e-4),
        epochs=164,
        batch_size=128,
        schedule="step",
        augment=Augment(Crop(4, fill=CIFAR_MEAN), Flip()),
    ),
    # cifar: `models.airbench` as Jordan 2024, arXiv:2404.00498, trains it, from `begin_airbench`: 2 pixels of reflected frame,
    # alternating flips, label smoothing 0.2, Nesterov momentum 0.85, a fading Lookahead, its learning rate and decay for each
    # example (there batches of 1024 and the sum of their losses).  Numbers of filters and epochs are ours, for a quarter of an
    # hour on two cores with AVX-512.  How they were chosen and what they reach: README.md.
    "cifar": Recipe(
        normalize=(CIFAR_MEAN, (63.0, 62.1, 66.7)),
        optimizer=SGD(0.1875, momentum=0.85, nesterov=True, weight_decay=1.33e-3),
        epochs=24,
        batch_size=128,
        schedule="one_cycle",
        augment=Augment(Shift(2, mode="reflect"), AlternatingFlip()),
        callbacks=(partial(Lookahead, fading),),
        loss=label_smoothed(0.2),
        prepare=begin_airbench,
        views=Views(flip=True, shift=1, mode="reflect"),
    ),
    # convnetjs: its CIFAR-10 demonstration (cifar10.html): AdaDelta with its library's rho 0.95 and eps 1e-8, batches of 4,
    # shifts of up to 2 pixels, mirrored or not, pixels / 255 - 1/2.  Its L2 of 1e-4 is divided by the batch, and there it leaves
    # the biases alone.  The page trains on for ever and averages over 6 random copies of an image; 20 epochs, ten copies: ours.
    "convnetjs": Recipe(
        normalize=(127.5, 255.0),
        optimizer=AdaDelta(1.0, rho=0.95, eps=1e-8, weight_decay=1e-4 / 4),
        epochs=20,
        batch_size=4,
        augment=Augment(Shift(2, fill=127.5), Flip()),
        views=Views(flip=True, shift=2, fill=127.5),
    ),
}
