"""The phantom: the same seed the same heart, about 1 % annotated, strokes that never lie."""

import numpy as np

from pclmix.data.folder import read_dataset, read_dense, read_scribble
from pclmix.data.phantom import IGNORE_ON_DISK, make_heart, make_phantom, make_unseen
from pclmix.labels import IGNORE


def test_the_same_seed_gives_the_same_heart():
    first, second, other = make_heart(5), make_heart(5), make_heart(6)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.scribble, second.scribble)
    assert not np.array_equal(first.truth, other.truth)


def test_strokes_are_few_and_true():
    hearts = [make_heart(seed) for seed in range(6)]
    for heart in hearts:
        drawn = heart.scribble != IGNORE_ON_DISK
        np.testing.assert_array_equal(heart.scribble[drawn], heart.truth[drawn])
        assert set(np.unique(heart.scribble)) == {0, 1, 2, 3, IGNORE_ON_DISK}
    share = np.mean([(heart.scribble != IGNORE_ON_DISK).mean() for heart in hearts])
    assert 0.005 < share < 0.02


def test_hearts_beyond_the_scribbled_ones_are_images_alone(tmp_path):
    cases = read_dataset(make_phantom(tmp_path / "data", 3, 3, scribbled=1)).cases
    assert [(case.label is not None, case.dense is not None) for case in cases] == [(True,) * 2, *[(False,) * 2] * 2]


def test_background_holds_things_as_bright_as_blood():
    heart = make_heart(2)
    blood = np.median(heart.image[heart.truth == 3])
    far = heart.image[heart.truth == 0]
    assert (far > blood).sum() > 200
    muscle = np.median(heart.image[heart.truth == 2])
    assert muscle < 0.7 * blood


def test_the_first_and_last_slice_hold_no_heart():
    truth = make_heart(0).truth
    assert not truth[..., 0].any() and not truth[..., -1].any() and truth[..., 3].any()


def test_folders(tmp_path):
    dataset = read_dataset(make_phantom(tmp_path / "data", 3, seed=1))
    assert [case.id for case in dataset.cases] == ["heart001_frame01", "heart001_frame02", "heart002_frame01"]
    assert {case.patient for case in dataset.cases} == {"heart001", "heart002"}
    scribble, dense = (read(dataset, dataset.cases[0]).array for read in (read_scribble, read_dense))
    assert (scribble == IGNORE).mean() > 0.97 and set(np.unique(dense)) == {0, 1, 2, 3}
    images, truth = make_unseen(tmp_path / "unseen", 2, seed=1)
    assert sorted(p.name for p in images.iterdir()) == ["unseen01_0000.nii.gz", "unseen02_0000.nii.gz"]
    assert sorted(p.name for p in truth.iterdir()) == ["unseen01.nii.gz", "unseen02.nii.gz"]
