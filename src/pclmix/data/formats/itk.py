"""NRRD and MetaImage, by SimpleITK, which gives LPS and the slice axis first."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pclmix.data.formats.reading import reading, without_alpha
from pclmix.data.grid import Volume, from_lps, lps_affine
from pclmix.errors import InputError, SeveralVolumesError

EXPECTED = "NRRD or MetaImage"

sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what is wrong is said by us, in one line with the file


def read(path: Path, *, label: bool) -> Volume:
    """Read a file; colours, where there are any, are the fourth axis."""
    with reading(path, EXPECTED):
        image = sitk.ReadImage(path)
        if image.GetPixelIDValue() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
            raise InputError(f"{path}: voxels of complex numbers, expected real ones")
        size = image.GetSize()
        if any(n > 1 for n in size[3:]):
            told = f"{len(size)}-D, shape {size}, expected a 3-D volume (one file a channel)"
            raise SeveralVolumesError(f"{path}: {told}")
        while image.GetDimension() > 3:
            image = image[..., 0]
        if image.GetDimension() == 2:
            image = sitk.JoinSeries(image)
        array = sitk.GetArrayFromImage(image)
        if image.GetNumberOfComponentsPerPixel() > 1:
            array = without_alpha(array, path)
        array = array.transpose(2, 1, 0, *range(3, array.ndim))
        direction = np.reshape(image.GetDirection(), (3, 3))
        return Volume(array, from_lps(image.GetSpacing(), direction, image.GetOrigin()), path, None)


def channels(path: Path) -> int:
    """Channels that `read` will give."""
    with reading(path, EXPECTED):
        reader = sitk.ImageFileReader()
        reader.SetFileName(path)
        reader.ReadImageInformation()
        return 3 if reader.GetNumberOfComponents() in (3, 4) else 1


def write(path: Path, array: NDArray[Any], like: Volume, classes: Mapping[str, int]) -> None:
    """Write a label or a map (with its channels last) in the grid of `like`."""
    axes = (2, 1, 0, *range(3, array.ndim))
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(axes)), isVector=array.ndim == 4)
    affine = lps_affine(like.geometry)
    image.SetSpacing(like.geometry.spacing)
    image.SetDirection((affine[:3, :3] / like.geometry.spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(image, path, useCompression=True)
