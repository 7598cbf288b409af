"""The queue: empty, partial, exactly full, wrapping, overfull, and after a resume."""

import torch

from pclmix.method.memory import Memory


def keys(*numbers):
    """One image a number; class 0 gets the number, class 1 is absent."""
    values = torch.zeros(len(numbers), 2, 1)
    values[:, 0, 0] = torch.tensor(numbers, dtype=torch.float)
    return values, torch.tensor([[True, False]] * len(numbers))


def held(memory):
    return memory.keys[0, memory.valid()[0], 0].tolist()


def test_empty():
    memory = Memory(2, 3, 1)
    assert not memory.valid().any()
    memory.enqueue(torch.ones(2, 2, 1), torch.zeros(2, 2, dtype=torch.bool))
    assert not memory.valid().any() and memory.heads.tolist() == [0, 0]


def test_partial_then_exactly_full_then_wrapping():
    memory = Memory(2, 3, 1)
    memory.enqueue(*keys(1, 2))
    assert held(memory) == [1, 2] and memory.counts.tolist() == [2, 0]
    memory.enqueue(*keys(3))
    assert held(memory) == [1, 2, 3] and memory.heads.tolist() == [0, 0]
    memory.enqueue(*keys(4, 5))
    assert held(memory) == [4, 5, 3] and memory.counts.tolist() == [3, 0]


def test_more_than_fits_keeps_the_last():
    memory = Memory(2, 3, 1)
    memory.enqueue(*keys(1, 2, 3, 4, 5))
    assert sorted(held(memory)) == [3, 4, 5]
    memory.enqueue(*keys(6))
    assert sorted(held(memory)) == [4, 5, 6]


def test_resume_goes_on_alike():
    memory, other = Memory(2, 3, 1), Memory(2, 3, 1)
    memory.enqueue(*keys(1, 2))
    other.load_state_dict(memory.state_dict())
    for each in (memory, other):
        each.enqueue(*keys(3, 4))
    assert torch.equal(memory.keys, other.keys) and torch.equal(memory.counts, other.counts)


def test_enqueue_leaves_the_given_tensors_and_earlier_views_alone():
    memory = Memory(2, 3, 1)
    before = memory.keys
    given, present = keys(1)
    memory.enqueue(given, present)
    assert not before.any() and given[0, 0, 0] == 1
