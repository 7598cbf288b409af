"""Whole-slice maps land where the batch's own crops came from."""

import numpy as np
import pytest
import torch

from pclmix.config import AugmentSettings, Plan, TrainSettings
from pclmix.data.batches import Batch, BatchSource
from pclmix.data.cache import CachedCase
from pclmix.data.crops import crop_labels, crop_maps
from pclmix.labels import IGNORE

SHADELESS = {"gamma": 0, "contrast": 0, "brightness": 0, "noise": 0, "blur": 0}


@pytest.fixture(params=[{}, {"stretch": 0.2, "elastic": 0.03, "swell": 0.5}], ids=["stiff", "bent"])
def source(request):
    random = np.random.default_rng(0)
    plan = Plan(
        channels=("mr",),
        classes={"background": 0, "a": 1, "b": 2},
        spacing=(1, 1),
        crop=(24, 32),
        batch=6,
        intensity=("zscore",),
    )
    cases = []
    for name, size in (("a", (40, 50)), ("b", (20, 60))):  # one lower than the crop
        label = random.integers(0, 3, (4, *size)).astype(np.uint8)
        image = random.normal(size=(4, 1, *size)).astype(np.float16)
        cases.append(CachedCase(name, name, image, label))
    return BatchSource(cases, plan, AugmentSettings(**SHADELESS, **request.param), TrainSettings(), 1)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_labels_of_a_slice_land_on_the_batchs_own_scribble(source, step):
    strokes = [source.strokes(place) for place in range(len(source.slices))]
    batch = source.batch(step)
    found = crop_labels(strokes, batch)
    # Zoomed out or turned far, a crop may reach beyond the window it was cut from; there the batch has nothing.
    assert (found == batch.scribble)[batch.valid].float().mean() > 0.999
    plain = source.plain_batch(step)
    assert torch.equal(crop_labels(strokes, plain), plain.scribble)


def test_maps_of_a_slice_land_on_the_batchs_own_image(source):
    images = [source.image(place) for place in range(len(source.slices))]
    for batch in (source.batch(0), source.plain_batch(0)):
        found = crop_maps(images, batch)
        inner = batch.valid[:, None] & (found != 0)
        assert (found - batch.image)[inner].abs().median() < 1e-5


def test_a_mixed_batch_comes_from_no_slice(source):
    batch = source.batch(0)
    mixed = Batch(batch.image, batch.scribble, batch.valid, batch.possible)
    with pytest.raises(ValueError, match="mixed of several slices"):
        crop_labels([], mixed)


@pytest.mark.parametrize("crop", [(24, 32), (20, 64), (64, 20)])
@pytest.mark.parametrize(
    "augment",
    [
        {"rotation": 0, "scale": 0},
        {"rotation": 15, "scale": 0.4},
        {"rotation": 180},
        {"rotation": 20, "scale": 0, "right_angles": True},
        {"rotation": 15, "scale": 0.3, "elastic": 0.02},
    ],
    ids=["still", "shrunk", "turned", "right angles", "bent"],
)
def test_a_crop_is_filled_where_its_slice_goes_on(crop, augment):
    """In the middle of a slice that is large enough, no pixel of a crop is missing, however long and turned it is."""
    plan = Plan(
        channels=("mr",), classes={"background": 0, "a": 1}, spacing=(1, 1), crop=crop, batch=32, intensity=("zscore",)
    )
    label = np.full((1, 300, 300), IGNORE, np.uint8)
    label[0, 149:151, 149:151] = 1
    case = CachedCase("a", "a", np.ones((1, 1, 300, 300), np.float16), label)
    source = BatchSource([case], plan, AugmentSettings(**augment), TrainSettings(foreground=1), 1)
    missing = [float((~source.batch(step).valid).float().mean()) for step in range(4)]
    assert max(missing) <= (1e-3 if augment.get("elastic") else 0)
