"""The mean over copies: how many there are, what each counts, and that alone it changes nothing."""

import pytest
import torch

from pclmix.network.copies import over_copies, passes, rotated


@pytest.mark.parametrize(("mirror", "turn", "count"), [(False, 0, 1), (True, 0, 4), (False, 12.5, 3), (True, 12.5, 6)])
def test_each_copy_is_a_pass(mirror, turn, count):
    seen = []

    def probabilities(images):
        seen.append(images)
        return torch.full((len(images), 2, *images.shape[2:]), 0.5)

    result = over_copies(probabilities, torch.rand(2, 1, 5, 9), mirror, turn)
    assert len(seen) == passes(mirror, turn) == count
    torch.testing.assert_close(result, torch.full((2, 2, 5, 9), 0.5))


def test_without_copies_the_probabilities_are_what_they_were_to_the_bit():
    found = torch.randn(3, 4, 6, 7).softmax(dim=1)
    assert torch.equal(over_copies(lambda _: found, torch.zeros(3, 1, 6, 7), False, 0), found)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (6, 6)])
def test_rotating_by_half_a_turn_is_both_mirrors_at_any_size(size):
    images = torch.randn(2, 3, *size)
    torch.testing.assert_close(rotated(images, 180), images.flip((2, 3)), atol=1e-4, rtol=0)


def test_a_quarter_turn_moves_what_lies_right_of_the_middle_above_or_below_it():
    images = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(rotated(rotated(images, 90), -90), images, atol=1e-4, rtol=0)
    torch.testing.assert_close(rotated(images, 90), images.rot90(1, (2, 3)), atol=1e-4, rtol=0)
