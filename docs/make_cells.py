"""Made-up pictures of cells and hasty strokes on them, for docs/own-data.md: images, scribbles, new, new_truth."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

random = np.random.default_rng(0)
for folder in ("images", "scribbles", "new", "new_truth"):
    Path(folder).mkdir(exist_ok=True)


def field():
    """A noisy picture with a few cells and nuclei in it, and what is what: 0 tissue, 1 cell, 2 nucleus."""
    truth = Image.new("L", (192, 192), 0)
    draw = ImageDraw.Draw(truth)
    grid = random.permutation([(x, y) for x in (32, 96, 160) for y in (32, 96, 160)])
    for x, y in grid[:5] + random.integers(-8, 9, (5, 2)):
        a, b = random.integers(16, 26, 2)
        draw.ellipse((x - a, y - b, x + a, y + b), fill=1)
        draw.ellipse((x - a // 2, y - b // 2, x + a // 2, y + b // 2), fill=2)
    labels = np.asarray(truth)
    colours = np.array([(225, 205, 215), (205, 150, 190), (110, 70, 150)])[labels]
    light = 12 * np.sin(np.linspace(0, random.uniform(2, 6), 192))[:, None, None]
    return (colours + light + random.normal(0, 18, colours.shape)).clip(0, 255).astype(np.uint8), labels


def strokes(labels):
    """What a hurried person paints: a line across each kind of thing, 3 on tissue, the rest left at 0."""
    painted = Image.new("L", (192, 192), 0)
    draw = ImageDraw.Draw(painted)
    for label, value in ((0, 3), (1, 1), (2, 2)):
        places = np.argwhere(labels == label)
        for row, column in places[random.integers(len(places), size=4)]:
            draw.line((column - 5, row - 3, column + 5, row + 3), fill=value, width=2)
    drawn = np.array(painted)
    drawn[(drawn > 0) & (drawn != np.array([3, 1, 2])[labels])] = 0
    return drawn


for index in range(30):
    (image, labels), known, name = field(), index < 24, f"cell{index:02d}.png"
    Image.fromarray(image).save(f"{'images' if known else 'new'}/{name}")
    Image.fromarray(strokes(labels) if known else labels).save(f"{'scribbles' if known else 'new_truth'}/{name}")
