"""One patient written into every format by that format's own library, for tests of what reads them.

The patient lies askew: three voxel sizes, a turned direction, an origin that is not 0, and signed 16-bit intensities.
All is in LPS, as ITK and DICOM have it; arrays are (column, row, slice).
"""

from dataclasses import dataclass

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
import slicerio
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

NAMES = {"RV": 1, "LV": 2}


@dataclass(frozen=True)
class Patient:
    """`image` int16 and `label` uint8, (column, row, slice); `direction` its axes in columns, LPS."""

    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float]
    direction: np.ndarray
    origin: tuple[float, float, float]

    @property
    def affine(self):
        affine = np.eye(4)
        affine[:3, :3] = self.direction * np.array(self.spacing)
        affine[:3, 3] = self.origin
        return affine


def synthetic(shape=(22, 18, 5)):
    """Two bright blocks on dark noise, unlike along every axis."""
    image = np.random.default_rng(0).integers(-900, -700, shape).astype(np.int16)
    label = np.zeros(shape, np.uint8)
    label[3:9, 4:12, 1:4] = 1
    label[12:20, 2:8, 2:5] = 2
    image[label > 0] += 1500
    direction = Rotation.from_euler("xyz", [12, -20, 33], degrees=True).as_matrix()
    return Patient(image, label, (1.5, 1.25, 8.0), direction, (-31.5, 12.25, 103.0))


def like(volume):
    """The patient of a volume that was read, its image as int16."""
    image, place = np.ascontiguousarray(volume.array.astype(np.int16)), volume.geometry
    flip = np.diag([-1, -1, 1])
    return Patient(image, image, place.spacing, flip @ place.direction, tuple(flip @ place.origin))


def nifti(path, patient, array):
    affine = np.diag([-1, -1, 1, 1]) @ patient.affine
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def itk(path, patient, array):
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing(patient.spacing)
    image.SetDirection(patient.direction.ravel().tolist())
    image.SetOrigin(patient.origin)
    sitk.WriteImage(image, path)
    return path


def stack(path, patient, array):
    resolution = (1 / patient.spacing[0], 1 / patient.spacing[1])
    metadata = {"axes": "ZYX", "spacing": patient.spacing[2], "unit": "mm"}
    array = array.transpose(2, 1, 0)
    tifffile.imwrite(path, array, imagej=array.dtype != np.int16, resolution=resolution, metadata=metadata)
    return path


def ome(path, patient, array):
    metadata = {"axes": "ZYX"}
    for axis, size in zip("XYZ", patient.spacing, strict=True):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "mm"}
    tifffile.imwrite(path, array.transpose(2, 1, 0), ome=True, metadata=metadata)
    return path


def series(folder, patient, array, *, slope=1.0, intercept=0.0, description="heart"):
    """A CT series, its file names in another order than its slices; `array` is what is stored, before the slope."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series_uid, frame = generate_uid(), generate_uid(), generate_uid()
    count = array.shape[2]
    for index in range(count):
        file = Dataset()
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = CTImageStorage
        file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
        file.StudyInstanceUID, file.SeriesInstanceUID, file.FrameOfReferenceUID = study, series_uid, frame
        file.PatientID = file.PatientName = "P^Q"
        file.PatientBirthDate = file.PatientSex = file.StudyID = file.AccessionNumber = ""
        file.StudyDate, file.StudyTime, file.ReferringPhysicianName = "20200101", "120000", ""
        file.Modality, file.SeriesDescription, file.SeriesNumber, file.InstanceNumber = "CT", description, 1, index + 1
        file.PositionReferenceIndicator = ""
        file.Columns, file.Rows = array.shape[:2]
        file.PixelSpacing = [patient.spacing[1], patient.spacing[0]]
        file.SliceThickness = patient.spacing[2]
        place = np.array(patient.origin) + index * patient.spacing[2] * patient.direction[:, 2]
        file.ImagePositionPatient = [f"{value:.9g}" for value in place]
        file.ImageOrientationPatient = [f"{value:.9g}" for value in patient.direction[:, :2].T.ravel()]
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated = file.BitsStored = 16
        file.HighBit, file.PixelRepresentation = 15, 1
        file.RescaleSlope, file.RescaleIntercept = slope, intercept
        file.PixelData = np.ascontiguousarray(array[:, :, index].T).tobytes()
        file.save_as(folder / f"{(index * 3 + 1) % count}_{index}", enforce_file_format=True)
    return folder


def slicer(path, patient, array, names=NAMES, layers=None):
    """A segmentation of 3D Slicer's; `layers`, a list of arrays, where segments overlap, a segment a layer."""
    voxels = array if layers is None else np.stack(layers)
    segments = [
        {
            "id": f"S{value}",
            "name": name,
            "labelValue": value if layers is None else 1,
            "layer": 0 if layers is None else n,
        }
        for n, (name, value) in enumerate(names.items())
    ]
    slicerio.write_segmentation(str(path), {"voxels": voxels, "ijkToLPS": patient.affine, "segments": segments})
    return path


def dicom_seg(path, folder, array, names=NAMES, masks=None):
    """DICOM SEG of the series in `folder`; `masks` (column, row, slice, segment) where segments overlap. Empty slices
    are left out, as most writers do."""
    sources = [pydicom.dcmread(file) for file in folder.iterdir()]
    sources.sort(key=lambda file: file.InstanceNumber)
    axes = (2, 1, 0) if masks is None else (2, 1, 0, 3)
    pixels = np.ascontiguousarray((array if masks is None else masks).transpose(axes)).astype(np.uint8)
    descriptions = [
        hd.seg.SegmentDescription(
            value, name, codes.SCT.Tissue, codes.SCT.Tissue, hd.seg.SegmentAlgorithmTypeValues.MANUAL
        )
        for name, value in names.items()
    ]
    file = hd.seg.Segmentation(
        sources,
        pixels,
        hd.seg.SegmentationTypeValues.BINARY,
        descriptions,
        hd.UID(),
        2,
        hd.UID(),
        1,
        "maker",
        "model",
        "1",
        "0",
    )
    file.save_as(path)
    return path
