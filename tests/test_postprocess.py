"""Keeping the largest components, and choosing for which classes."""

import numpy as np

from pclmix.config import Plan
from pclmix.labels import IGNORE
from pclmix.postprocess import choose_components, component_groups, keep_largest_components


def two_pieces(big=1, small=1):
    """A piece of 12 voxels of class `big` and one of 2 of class `small`, far apart."""
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[0:3, 0:2, 0:2] = big
    labels[3, 6, 6:8] = small
    return labels


def test_the_smaller_piece_becomes_background_and_the_input_stays():
    labels = two_pieces()
    before = labels.copy()
    kept = keep_largest_components(labels, ((1,),))
    assert kept.sum() == 12 and not kept[3].any()
    assert kept.dtype == np.uint8
    np.testing.assert_array_equal(labels, before)


def test_pieces_of_at_least_half_the_largest_size_stay():
    """A heart that a lost slice cuts in two, or two kidneys: 12 voxels, 6, and 5 that are too few."""
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[0:3, 0:2, 0:2] = labels[3, 6:8, 5:8] = 1
    labels[0, 7, 3:8] = 1
    kept = keep_largest_components(labels, ((1,),))
    assert not kept[0, 7].any() and kept[0:3, 0:2, 0:2].all() and kept[3, 6:8, 5:8].all()
    labels[3, 7, 7] = 0
    assert keep_largest_components(labels, ((1,),)).sum() == 12


def test_other_classes_and_no_classes_are_left_alone():
    labels = two_pieces(big=2, small=2)
    np.testing.assert_array_equal(keep_largest_components(labels, ((1,),)), labels)
    np.testing.assert_array_equal(keep_largest_components(labels, ()), labels)
    nothing = np.zeros((2, 3, 3), np.uint8)
    np.testing.assert_array_equal(keep_largest_components(nothing, ((1,),)), nothing)


def test_a_class_is_judged_by_its_own_pieces_only():
    labels = two_pieces(big=1, small=2)
    np.testing.assert_array_equal(keep_largest_components(labels, ((1,), (2,))), labels)


def test_voxels_that_share_a_corner_only_are_connected():
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[2, 2, 2] = 1
    np.testing.assert_array_equal(keep_largest_components(labels, ((1,),)), labels)


def test_components_are_three_dimensional():
    """Two pieces of one slice that meet in the next slice are one structure."""
    labels = np.zeros((2, 5, 7), np.uint8)
    labels[0, 2, 0] = labels[0, 2, 6] = 1
    labels[1, 2, :] = 1
    np.testing.assert_array_equal(keep_largest_components(labels, ((1,),)), labels)


def scribble_at(*places):
    scribble = np.full((4, 8, 8), IGNORE, np.uint8)
    for place, label in places:
        scribble[place] = label
    return scribble


def test_chosen_where_no_stroke_is_hit_outside_the_largest_piece():
    assert choose_components([(two_pieces(), scribble_at(((0, 0, 0), 1)))], ((1,),)) == ((1,),)


def test_not_chosen_for_a_structure_that_comes_in_pieces():
    scribble = scribble_at(((0, 0, 0), 1), ((3, 6, 6), 1))
    assert choose_components([(two_pieces(), scribble)], ((1,),)) == ()


def test_not_chosen_for_cells_of_which_the_small_ones_go_without_a_stroke():
    """Strokes in two like pieces say that there are several; that the small third has none says nothing of it."""
    labels, scribble = two_pieces(), scribble_at(((0, 0, 0), 1), ((3, 6, 6), 1))
    labels[3, 3:8, 6:8] = 1
    labels[0, 7, 7] = 1
    assert choose_components([(labels, scribble)], ((1,),)) == ()


def test_a_stroke_of_another_class_does_not_speak_for_the_piece_beneath_it():
    """The small piece is a false positive: the annotator marked background there."""
    scribble = scribble_at(((0, 0, 0), 1), ((3, 6, 6), 0))
    assert choose_components([(two_pieces(), scribble)], ((1,),)) == ((1,),)


def test_not_chosen_for_a_class_no_stroke_of_which_is_hit():
    assert choose_components([(two_pieces(), scribble_at())], ((1,), (2,))) == ()
    assert choose_components([], ((1,),)) == ()


def test_the_limit_is_one_per_cent_of_the_strokes_over_all_cases():
    clean = np.zeros((4, 8, 8), np.uint8)
    clean[0:2, :, :] = 1
    full = np.where(clean == 1, 1, IGNORE).astype(np.uint8)
    in_pieces = (two_pieces(), scribble_at(((3, 6, 6), 1)))
    assert choose_components([(clean, full), in_pieces], ((1,),)) == ((1,),)  # 1 of 129
    assert choose_components([(clean[:1], full[:1]), in_pieces], ((1,),)) == ()  # 1 of 65
    assert choose_components(iter([(clean, full)]), ((1,), (2,))) == ((1,),)


def test_a_group_goes_first_so_that_a_lone_class_cannot_be_kept_where_the_others_are_not():
    """Without the group the larger piece of class 2, far from the rest, would stay and the true one would go."""
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[0:3, 0:2, 0:3], labels[0, 0, 0] = 1, 2
    labels[3, 5:7, 6:8] = 2
    assert (keep_largest_components(labels, ((1,), (2,)))[0] == 2).sum() == 0
    kept = keep_largest_components(labels, ((1, 2), (1,), (2,)))
    assert (kept[0] == 2).sum() == 1 and not kept[3].any()


def test_a_group_is_judged_by_what_the_groups_before_it_left():
    """The stroke of class 2 is hit in a piece that the group takes away only if few strokes say otherwise."""
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[0:3, 0:4, 0:4], labels[0, 0, 0] = 1, 2
    labels[3, 5:7, 6:8] = 2
    scribble = np.where(labels == 1, 1, IGNORE).astype(np.uint8)
    scribble[0, 0, 0] = 2
    groups = ((1, 2), (1,), (2,))
    assert choose_components([(labels, scribble)], ((1,), (2,))) == ((1,),)  # the true piece of 2 is the smaller one
    assert choose_components([(labels, scribble)], groups) == groups


def plan_of(classes, **changes):
    names = {f"c{value}": value for value in range(classes)}
    return Plan(channels=("MR",), classes=names, spacing=(1, 1), crop=(8, 8), batch=2, intensity=("zscore",), **changes)


def test_the_groups_of_a_plan_are_all_structures_and_each():
    assert component_groups(plan_of(3)) == ((1, 2), (1,), (2,))
    assert component_groups(plan_of(2)) == ((1,),)


def test_a_plan_may_name_a_class_for_a_group_of_it():
    assert plan_of(3, largest_component=(1, (1, 2))).largest_component == ((1,), (1, 2))
