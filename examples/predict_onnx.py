"""Segment NIfTI files with a model that `pclmix export` wrote, by onnxruntime, nibabel and NumPy alone.

    python predict_onnx.py MODEL.onnx OUTDIR CASE.nii.gz ...      a file a channel: CASE_0000.nii.gz,CASE_0001.nii.gz

The labels are those of `pclmix predict` in fp32, but for a voxel here and there in which two classes tie.
"""

import re
import sys
import tomllib
from pathlib import Path

import nibabel as nib
import numpy as np
import onnxruntime


def weights(n, m, antialias):
    """Matrix (m, n) that resamples n pixels to m, linear, outer edges aligned; `antialias` averages where m < n."""
    centres = (np.arange(m) + 0.5) * n / m
    reach = max(n / m, 1) if antialias else 1
    matrix = np.maximum(0, 1 - np.abs(np.arange(n) + 0.5 - centres[:, None]) / reach)
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def resample(images, size, antialias):
    """Images (..., H, W) -> (..., *size)."""
    if images.shape[-2:] == tuple(size):
        return images
    rows, columns = (weights(n, m, antialias) for n, m in zip(images.shape[-2:], size, strict=True))
    return rows @ (images @ columns.T)


def normalise(array, plan, channel):
    """A channel as the plan wants it: z-scored, or clipped, shifted and scaled (CT)."""
    mean, deviation = float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64))
    if plan["intensity"][channel] == "ct":
        array = np.clip(array, *plan["clip"][channel])
        mean, deviation = plan["statistics"][channel]
    return ((array - mean) / max(deviation, 1e-6)).astype(np.float32)


def largest_pieces(mask):
    """The largest set of voxels of a 3-D mask that hang together by a face, an edge or a corner, and any half as large.

    Voxels bear numbers; each takes the lowest of its neighbours', then the number of the voxel so numbered.
    """
    before, numbers = None, np.where(mask, np.arange(mask.size).reshape(mask.shape), mask.size)
    while not np.array_equal(before, numbers):
        before = numbers
        for axis in range(3):
            padded = np.pad(numbers, [(int(a == axis),) * 2 for a in range(3)], constant_values=mask.size)
            numbers = np.lib.stride_tricks.sliding_window_view(padded, 3, axis).min(axis=-1)
        numbers = np.append(np.where(mask, numbers, mask.size), mask.size)
        numbers = numbers[numbers[:-1]].reshape(mask.shape)
    pieces, counts = np.unique(numbers[mask], return_counts=True)
    return np.isin(numbers, pieces[2 * counts >= counts.max(initial=0)])


def segment(session, plan, files):
    """The label map (uint8) of a case, in the axis order of its files, one a channel."""
    arrays = [np.asarray(file.dataobj).astype(np.float32).reshape((*file.shape, 1)[:3]) for file in files]
    unit = {1: 1000, 3: 1e-3}.get(int(files[0].header["xyzt_units"]) % 8, 1)  # metre, micrometre, else mm
    spacing = [float(zoom) * unit for zoom in (*files[0].header.get_zooms(), 1)[:3]]  # affines are wrong in some data
    axis = max(range(3), key=lambda i: (arrays[0].shape[i] == 1, float(f"{spacing[i]:.5g}"), i))
    axis = axis if plan["slice_axis"] == "auto" else int(plan["slice_axis"])
    slices = np.stack([np.moveaxis(normalise(a, plan, c), axis, 0) for c, a in enumerate(arrays)], axis=1)
    sides = zip(slices.shape[2:], np.delete(spacing, axis), plan["spacing"], strict=True)
    size = [max(1, round(float(n * own / wanted))) for n, own, wanted in sides]
    shown = resample(slices, size, antialias=True)
    found = np.concatenate([session.run(None, {"image": image[None]})[0] for image in shown])
    labels = resample(found, slices.shape[2:], antialias=False).argmax(axis=1).astype(np.uint8)
    for group in plan["largest_component"]:
        mask = np.isin(labels, group)
        labels[mask & ~largest_pieces(mask)] = 0
    return np.moveaxis(labels, 0, axis)


if __name__ == "__main__":
    model, out, *cases = sys.argv[1:]
    session = onnxruntime.InferenceSession(model)
    about = session.get_modelmeta().custom_metadata_map
    if about.get("pclmix_averaged") != "true":
        sys.exit(f"{model}: does not average over copies itself, expected an export of a later pclmix")
    plan = tomllib.loads(about["pclmix_plan"])
    Path(out).mkdir(parents=True, exist_ok=True)
    for case in cases:
        files = [nib.load(path) for path in case.split(",")]
        header = files[0].header.copy()
        header.set_data_dtype(np.uint8)
        header.set_slope_inter(1, 0)
        path = Path(out) / re.sub(r"(_0000)?\.nii(\.gz)?$", ".nii.gz", Path(files[0].get_filename()).name)
        nib.save(nib.Nifti1Image(segment(session, plan, files), None, header), path)
        print(path)
