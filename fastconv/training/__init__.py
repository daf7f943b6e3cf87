"""Training: losses, optimizers, and the loop that applies them to a network."""

from fastconv.training.augment import Warp
from fastconv.training.checkpoint import Checkpoint
from fastconv.training.crops import AlternatingFlip, Augment, Crop, Cutout, Flip, Shift
from fastconv.training.evaluation import Evaluation, evaluate
from fastconv.training.history import History
from fastconv.training.losses import LOSSES
from fastconv.training.optimizers import OPTIMIZERS, SGD, Adam
from fastconv.training.recipes import RECIPES, Recipe
from fastconv.training.run_folder import StoredRun, load_run, save_run
from fastconv.training.schedules import SCHEDULES
from fastconv.training.trainer import Trainer
from fastconv.training.views import Views

__all__ = [
    "LOSSES",
    "OPTIMIZERS",
    "RECIPES",
    "SCHEDULES",
    "SGD",
    "Adam",
    "AlternatingFlip",
    "Augment",
    "Checkpoint",
    "Crop",
    "Cutout",
    "Evaluation",
    "Flip",
    "History",
    "Recipe",
    "Shift",
    "StoredRun",
    "Trainer",
    "Views",
    "Warp",
    "evaluate",
    "load_run",
    "save_run",
]
