"""Labels find their images by name, by the strictest rule that fits; who finds none is named."""

import pytest
from painted import folders, picture, save, strokes

from pclmix.data.importers.pairing import find_pairs
from pclmix.errors import InputError


@pytest.mark.parametrize(
    ("image", "label", "rule"),
    [
        ("a", "a", "same name"),
        ("a_0000", "a", "same name"),
        ("a", "a_0000", "channel number aside"),
        ("a", "a_scribble", "ending aside"),
        ("a_image", "a-mask", "ending aside"),
        ("A_Image", "a.SEG", "ending and capitals aside"),
    ],
)
def test_rules(tmp_path, image, label, rule):
    images, labels = save(tmp_path / "i", **{image: picture()}), save(tmp_path / "l", **{label: strokes()})
    (pair,) = find_pairs(images, labels).pairs
    assert (pair.rule, pair.label.stem) == (rule, label)


def test_the_strictest_rule_wins(tmp_path):
    images = save(tmp_path / "i", a=picture(), a_image=picture(1))
    labels = save(tmp_path / "l", a=strokes(), a_image=strokes(1))
    found = {pair.case: pair.label.stem for pair in find_pairs(images, labels).pairs}
    assert found == {"a": "a", "a_image": "a_image"}


def test_a_label_that_could_be_of_two_images_is_of_none(tmp_path):
    images = save(tmp_path / "i", a_image=picture(), a_img=picture(1), b=picture(2))
    pairing = find_pairs(images, save(tmp_path / "l", a_seg=strokes(), b=strokes()))
    assert [path.stem for path in pairing.alone] == ["a_seg"]
    assert "a label without its image, expected an image named a_seg" in pairing.problems[0]
    assert [pair.case for pair, _ in pairing.labelled] == ["b"] and len(pairing.pairs) == 3


def test_two_labels_for_a_case(tmp_path):
    images, labels = folders(tmp_path)
    save(labels, c1_seg=strokes())
    (problem,) = find_pairs(images, labels).problems
    assert "c1_seg.png: two label files for one case, c1, the other is" in problem


def test_labels_inside_the_folder_of_images_are_no_images(tmp_path):
    images, _ = folders(tmp_path)
    labels = save(images / "painted", c0=strokes())
    assert len(find_pairs(images, labels).pairs) == 3


def test_the_same_name_in_two_folders(tmp_path):
    images, labels = folders(tmp_path)
    save(images / "more", c0=picture())
    with pytest.raises(InputError, match=r"c0.png: the same case twice, the other file is"):
        find_pairs(images, labels)


def test_nothing_to_pair_says_where_to_look(tmp_path):
    images, labels = folders(tmp_path)
    wrong = save(tmp_path / "wrong", other=strokes())
    with pytest.raises(InputError, match=r"no label is named like an image \(other.png\), expected c0 .*labels\)"):
        find_pairs(images, wrong)
    with pytest.raises(InputError, match="the folder of the images too"):
        find_pairs(images, images)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no image"):
        find_pairs(tmp_path / "empty", labels)


def test_channels_of_a_case_must_be_whole(tmp_path):
    images = save(tmp_path / "i", a_0000=picture(), a_0001=picture(1), b_0000=picture(2))
    pairing = find_pairs(images, save(tmp_path / "l", a=strokes(), b=strokes()))
    assert pairing.channels == 2 and "b_0000.png: channels [0] of this case, expected 0-1" in pairing.problems[0]
