"""Running means of loss and accuracy."""

__all__ = ["Means"]


class Means:
    """Means over all examples of the batches added so far."""

    def __init__(self, loss):
        self._loss = loss
        self.count = self._losses = self._hits = self._answers = 0

    def add(self, value, scores, y):
        """A batch: its mean loss, the predictions and the targets."""
        self.count += len(scores)
        self._losses += value * len(scores)
        if self._loss.hits is not None:
            hits = self._loss.hits(scores, y)
            self._hits += int(hits.sum())
            self._answers += hits.size

    @property
    def loss(self):
        """Mean loss; 0 before the first batch."""
        return self._losses / max(self.count, 1)

    def state(self):
        """The sums, for a checkpoint; `set_state` takes them back."""
        return {"count": self.count, "losses": self._losses, "hits": self._hits, "answers": self._answers}

    def set_state(self, state):
        """Go on from sums that `state` gave."""
        self.count, self._losses, self._hits, self._answers = (state[name] for name in ("count", "losses", "hits", "answers"))

    def values(self):
        """{"loss": …, "accuracy": …}; no accuracy for a loss without."""
        found = {"loss": self.loss}
        return {**found, "accuracy": self._hits / self._answers} if self._answers else found
