"""The memory: a ring of unit keys a class. State moves by a visible call; it knows how many of its slots are valid."""

import torch
from torch import Tensor


class Memory:
    """`keys`: (K, M, D), unit vectors; `counts`: (K,) valid slots a class; `heads`: (K,) the next slot to write."""

    def __init__(self, classes: int, size: int, dimension: int) -> None:
        self.keys = torch.zeros(classes, size, dimension)
        self.counts = torch.zeros(classes, dtype=torch.long)
        self.heads = torch.zeros(classes, dtype=torch.long)

    def to(self, device: torch.device) -> None:
        """Move the memory to a device, where it is not there already."""
        if self.keys.device != device:
            self.keys, self.counts, self.heads = (t.to(device) for t in (self.keys, self.counts, self.heads))

    def valid(self) -> Tensor:
        """(K, M) bool: slots that hold a key."""
        size = self.keys.shape[1]
        return torch.arange(size, device=self.keys.device) < self.counts[:, None]

    def enqueue(self, keys: Tensor, present: Tensor) -> None:
        """Add the keys (N, K, D) of N images where `present` (N, K); the oldest go first, in order of N.

        Of more than M keys of a class only the last M are kept.
        """
        size = self.keys.shape[1]
        images, classes = present.shape
        order = present.long().cumsum(dim=0) - 1  # place of each key among the new ones of its class
        total = present.sum(dim=0)
        kept = present & (order >= total - size)
        slot = (self.heads + order) % size
        target = torch.where(kept, torch.arange(classes, device=slot.device) * size + slot, classes * size)
        # One spare row takes what is not kept, so that no step depends on the data (no host sync).
        flat = torch.cat([self.keys.flatten(0, 1), self.keys.new_zeros(1, self.keys.shape[2])])
        flat = flat.index_copy(0, target.flatten(), keys.detach().to(flat.dtype).reshape(images * classes, -1))
        self.keys = flat[:-1].view_as(self.keys)
        self.heads = (self.heads + total) % size
        self.counts = (self.counts + total).clamp_max(size)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything a resume needs."""
        return {"keys": self.keys, "counts": self.counts, "heads": self.heads}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
        self.keys, self.counts, self.heads = (state[name].clone() for name in ("keys", "counts", "heads"))
