"""The equations M1-M9 as slow nested loops over NumPy numbers, written from docs/equations.md alone."""

import math

IGNORE = 255


def softmax(values):
    top = max(values)
    powers = [math.exp(v - top) for v in values]
    return [p / sum(powers) for p in powers]


def argmax(values):
    return max(range(len(values)), key=lambda i: values[i])


def ramp(u):
    return math.exp(-5 * (1 - min(max(u, 0), 1)) ** 2)


def pixels(array):
    """(b, y, x) of a (B, K, H, W) array."""
    batch, _, height, width = array.shape
    return [(b, y, x) for b in range(batch) for y in range(height) for x in range(width)]


def m1(main, auxiliary):
    out = {}
    for b, y, x in pixels(main):
        p = softmax(main[b, :, y, x])
        q = softmax(auxiliary[b, :, y, x])
        mean = [(i + j) / 2 for i, j in zip(p, q, strict=True)]
        out[b, y, x] = (-sum(v * math.log(v) for v in mean if v > 0), mean)
    return out


def m2(main, auxiliary, scribble, valid, r):
    bound = (0.375 + 0.125 * ramp(r)) * math.log(main.shape[1])
    out = {}
    for place, (uncertainty, mean) in m1(main, auxiliary).items():
        if not valid[place]:
            out[place] = IGNORE
        elif scribble[place] != IGNORE:
            out[place] = int(scribble[place])
        else:
            out[place] = argmax(mean) if uncertainty < bound else IGNORE
    return out


def cells(certain, scribble, valid, classes, stride):
    """Labels on the embedding's grid: the most frequent stroke of a cell, else the majority of ŷ, IGNORE included."""
    out = {}
    batch, height, width = scribble.shape
    for b in range(batch):
        for row in range(0, height, stride):
            for column in range(0, width, stride):
                places = [(b, y, x) for y in range(row, row + stride) for x in range(column, column + stride)]
                strokes = [0] * classes
                guesses = [0] * classes
                for place in places:
                    if valid[place] and scribble[place] != IGNORE:
                        strokes[scribble[place]] += 1
                    if certain[place] != IGNORE:
                        guesses[certain[place]] += 1
                unknown = len(places) - sum(guesses)
                label = argmax(guesses) if max(guesses) > unknown else IGNORE
                out[b, row // stride, column // stride] = argmax(strokes) if sum(strokes) else label
    return out


def m3(anchors, labels, keys, counts, temperature):
    losses = []
    for anchor, label in zip(anchors, labels, strict=True):

        def dot(key, anchor=anchor):
            return sum(a * k for a, k in zip(anchor, key, strict=True)) / temperature

        positives = [dot(keys[label][i]) for i in range(counts[label])]
        negatives = [dot(keys[c][i]) for c in range(len(keys)) if c != label for i in range(counts[c])]
        if not positives or not negatives:
            continue
        total = sum(math.exp(n) for n in negatives)
        losses.append(-sum(math.log(math.exp(p) / (math.exp(p) + total)) for p in positives) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


def m4(image, main, auxiliary, pi_c, pi_t, inside, main_inside):
    """(mixed image, pseudo label) by pixel."""
    mixed, pseudo = {}, {}
    for b, y, x in pixels(main):
        from_main = inside[b, y, x] == main_inside
        source, logits = (pi_c[b], main) if from_main else (pi_t[b], auxiliary)
        mixed[b, y, x] = image[source, 0, y, x]
        pseudo[b, y, x] = argmax(softmax(logits[source, :, y, x]))
    return mixed, pseudo


def m5(logits, target, valid):
    terms = [
        -math.log(softmax(logits[b, :, y, x])[target[b, y, x]])
        for b, y, x in pixels(logits)
        if valid[b, y, x] and target[b, y, x] != IGNORE
    ]
    return sum(terms) / len(terms) if terms else 0.0


def m6_half(main, auxiliary, target, valid, weight):
    return m5(main, target, valid) + weight * m5(auxiliary, target, valid)


def m7(main, auxiliary, pseudo, valid, weight):
    return m5(main, pseudo, valid) + weight * m5(auxiliary, pseudo, valid)


def m8_part(main, auxiliary, valid):
    terms = [
        (main[b, k, y, x] - auxiliary[b, k, y, x]) ** 2
        for b, y, x in pixels(main)
        if valid[b, y, x]
        for k in range(main.shape[1])
    ]
    return sum(terms) / len(terms) if terms else 0.0


def m9(supervised, contrast, mixing, different, r, contrastive, consistent):
    return supervised + contrastive * r**0.9 * contrast + consistent * (mixing + ramp(0.8 * r) * different)
