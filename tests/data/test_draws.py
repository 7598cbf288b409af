"""The row of slices: epochs, the share of the unlabelled, and that any part of it can be had alone."""

import numpy as np
import pytest

from pclmix.data.draws import ORDER, SliceRow, random_numbers


def places(row, first, count):
    return [pick.place for pick in row.take(first, count)]


def test_without_unlabelled_slices_the_row_is_shuffled_epochs():
    expected = [random_numbers(3, ORDER, epoch).permutation(7) for epoch in range(3)]
    row = SliceRow(3, 7)
    assert places(row, 0, 21) == np.concatenate(expected).tolist()
    assert all(pick.guide == pick.place for pick in row.take(0, 21))
    assert places(row, 0, 7) == [1, 0, 2, 5, 4, 3, 6], "runs that were begun must go on with the slices they had"


@pytest.mark.parametrize("share", [0.25, 0.1, 0.6, 1 / 3])
def test_the_unlabelled_have_their_share_and_both_run_through_their_epochs(share):
    row = SliceRow(3, 7, 5, share)
    taken = row.take(0, 600)
    unlabelled = [pick.place >= 7 for pick in taken]
    assert all(abs(sum(unlabelled[:n]) - share * n) <= 1 for n in range(600))
    for first, size, chosen in ((0, 7, False), (7, 5, True)):
        kind = [pick.place for pick, is_unlabelled in zip(taken, unlabelled, strict=True) if is_unlabelled == chosen]
        for epoch in range(len(kind) // size):
            assert sorted(kind[epoch * size : (epoch + 1) * size]) == list(range(first, first + size))
    assert all(pick.guide < 7 and (pick.guide == pick.place or pick.place >= 7) for pick in taken)


def test_before_their_time_the_row_is_that_of_the_annotated_alone_and_then_they_have_their_share():
    row, late = SliceRow(3, 7, 5, 0.3), SliceRow(3, 7, 5, 0.3, 40)
    assert places(late, 0, 40) == places(SliceRow(3, 7), 0, 40)
    shown = [pick.place >= 7 for pick in late.take(40, 200)]
    assert shown == [pick.place >= 7 for pick in row.take(0, 200)]
    annotated = [place for place in places(late, 0, 240) if place < 7]
    assert annotated == places(SliceRow(3, 7), 0, len(annotated))
    assert late.take(30, 20) == late.take(0, 60)[30:50]


def test_the_annotated_slices_come_in_the_order_they_would_have_alone():
    mixed = [place for place in places(SliceRow(3, 7, 5, 0.3), 0, 100) if place < 7]
    assert mixed == places(SliceRow(3, 7), 0, len(mixed))


def test_any_part_can_be_had_alone():
    row = SliceRow(8, 11, 30, 0.25)
    whole = row.take(0, 36)
    assert all(row.take(first, 4) == whole[first : first + 4] for first in range(0, 36, 4))
    assert places(row, 0, 60) != places(SliceRow(9, 11, 30, 0.25), 0, 60)
