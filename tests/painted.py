"""Folders as people have them: pictures and strokes of a painting program, 0 where nothing is painted."""

import numpy as np
from PIL import Image

CLASSES = {"cell": 1, "nucleus": 2}
TOLD = {"classes": CLASSES, "background": 3, "unlabelled": 0}


def strokes(seed=0):
    """(20, 30): 24 pixels of each of 1, 2 and 3, 0 elsewhere."""
    label = np.zeros((20, 30), np.uint8)
    for value in (1, 2, 3):
        label[4 * value : 4 * value + 2, 5 + seed : 17 + seed] = value
    return label


def picture(seed=0):
    """(20, 30), smooth grey values and noise."""
    return np.random.default_rng(seed).integers(60, 200, (20, 30)).astype(np.uint8)


def save(folder, **arrays):
    """NAME.png of each array; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        Image.fromarray(array).save(folder / f"{name}.png")
    return folder


def folders(root, cases=3):
    """Images and labels of the same names."""
    images = save(root / "images", **{f"c{index}": picture(index) for index in range(cases)})
    return images, save(root / "labels", **{f"c{index}": strokes(index) for index in range(cases)})
