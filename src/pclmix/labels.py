"""Label values in memory and their colours."""

IGNORE = 255
"""The in-memory label of a pixel nobody annotated, whatever the number of classes (on disk it is the highest label)."""

MAX_CLASSES = 250

PALETTE = (
    (0, 0, 0), (230, 75, 53), (77, 187, 213), (245, 200, 66), (0, 160, 135), (132, 94, 194),
    (243, 155, 127), (60, 84, 136), (145, 209, 194), (220, 120, 180), (126, 97, 72), (176, 156, 133),
)  # fmt: skip
"""RGB 0-255 a class, background first; classes beyond the palette wrap round, never onto background."""

BACKGROUND_STROKE = (70, 110, 160)
"""RGB of strokes drawn on the background, among pixels that nobody annotated."""


def colour(label: int) -> tuple[int, int, int]:
    """RGB (0-255) of a class index; grey for IGNORE."""
    if label == IGNORE:
        return (128, 128, 128)
    return PALETTE[0] if label == 0 else PALETTE[1 + (label - 1) % (len(PALETTE) - 1)]
