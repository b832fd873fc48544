"""Slides of scanners' formats, made for tests: DICOM, Hamamatsu NDPI, Leica SCN, each with a label and a macro."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import tifffile
from imagecodecs import jpeg8_encode
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit, generate_uid

RED = (200, 30, 30)  # of labels and macros: no tissue looks like it
WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"


def red_picture(width: int, height: int) -> np.ndarray:
    """A label or macro."""
    return np.full((height, width, 3), RED, np.uint8)


def write_dicom(path: Path, image: np.ndarray, series: str = "1.2.3", flavour: str = "VOLUME", **tags) -> Path:
    """Write one instance of a whole-slide series; ``tags`` overrule any attribute, None removes it.

    Parameters
    ----------
    path : Path
        The .dcm file.
    image : ndarray of uint8, shape (h, w, 3)
        Its pixels, stored as JPEG tiles of 256 px (a label as one frame).
    series : str
        UID of series, study and frame of reference.
    flavour : str
        Third value of ImageType: VOLUME, LABEL, OVERVIEW, THUMBNAIL.
    """
    height, width = image.shape[:2]
    side_x, side_y = (256, 256) if flavour in ("VOLUME", "THUMBNAIL") else (width, height)
    frames = []
    for y in range(0, height, side_y):
        for x in range(0, width, side_x):
            piece = np.full((side_y, side_x, 3), 255, np.uint8)
            part = image[y : y + side_y, x : x + side_x]
            piece[: part.shape[0], : part.shape[1]] = part
            frames.append(jpeg8_encode(piece, level=92, colorspace="RGB", outcolorspace="YCbCr"))
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = JPEGBaseline8Bit, WSI
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = WSI, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID = data.SeriesInstanceUID = data.FrameOfReferenceUID = series
    data.Modality, data.ImageType = "SM", ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    data.Rows, data.Columns, data.NumberOfFrames = side_y, side_x, len(frames)
    data.TotalPixelMatrixColumns, data.TotalPixelMatrixRows = width, height
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "YBR_FULL_422", 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation, data.LossyImageCompression = 7, 0, "01"
    data.DimensionOrganizationType, data.TotalPixelMatrixFocalPlanes, data.NumberOfOpticalPaths = "TILED_FULL", 1, 1
    measures, shared, optics = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [0.00025, 0.00025]
    shared.PixelMeasuresSequence = Sequence([measures])
    optics.OpticalPathIdentifier, optics.ObjectiveLensPower = "1", "40"
    data.SharedFunctionalGroupsSequence, data.OpticalPathSequence = Sequence([shared]), Sequence([optics])
    data.PixelData = encapsulate(frames)
    data["PixelData"].VR = "OB"
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    if "SOPClassUID" in tags:
        meta.MediaStorageSOPClassUID = tags["SOPClassUID"]
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def write_ndpi(path: Path, image: np.ndarray) -> Path:
    """Write a Hamamatsu NDPI: the slide at two levels, a red macro behind it (SourceLens -1)."""
    with tifffile.TiffWriter(path, byteorder="<") as tif:
        for picture, lens in ((image, 40.0), (image[::4, ::4], 10.0), (red_picture(600, 300), -1.0)):
            tif.write(
                np.ascontiguousarray(picture), photometric="rgb", compression="jpeg", rowsperstrip=picture.shape[0],
                compressionargs={"level": 92}, resolution=(1000 * abs(lens), 1000 * abs(lens)), resolutionunit=3,
                metadata=None, software="NDP.scan",
                extratags=[(271, "s", 0, "Hamamatsu", True), (65420, "I", 1, 1, True), (65421, "f", 1, lens, True),
                           (65422, "i", 1, 0, True), (65423, "i", 1, 0, True), (65424, "i", 1, 0, True),
                           (65427, "s", 0, "SECRET-REFERENCE", True)],
            )  # fmt: skip
    return path


def write_scn(path: Path, image: np.ndarray) -> Path:
    """Write a Leica SCN: a red macro on the first page, the slide at two levels behind it."""
    height, width = image.shape[:2]
    nm = 250  # per pixel
    whole = f'sizeX="{width * nm * 2}" sizeY="{height * nm * 2}"'
    xml = f"""<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection name="c" uuid="u" {whole}><barcode>U0VDUkVU</barcode>
<image name="macro" uuid="m"><creationDate>2020-01-01T00:00:00Z</creationDate><device model="x" version="1"/>
<pixels sizeX="512" sizeY="512"><dimension sizeX="512" sizeY="512" r="0" ifd="0"/></pixels>
<view {whole} offsetX="0" offsetY="0" spacingZ="0"/>
<scanSettings><objectiveSettings><objective>0.6</objective></objectiveSettings>
<illuminationSettings><numericalAperture>0.1</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>
<image name="image" uuid="i"><creationDate>2020-01-01T00:00:00Z</creationDate><device model="x" version="1"/>
<pixels sizeX="{width}" sizeY="{height}"><dimension sizeX="{width}" sizeY="{height}" r="0" ifd="1"/>
<dimension sizeX="{width // 4}" sizeY="{height // 4}" r="1" ifd="2"/></pixels>
<view sizeX="{width * nm}" sizeY="{height * nm}" offsetX="0" offsetY="0" spacingZ="0"/>
<scanSettings><objectiveSettings><objective>40</objective></objectiveSettings>
<illuminationSettings><numericalAperture>0.4</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>
</collection></scn>"""
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for number, picture in enumerate((red_picture(512, 512), image, image[::4, ::4])):
            tif.write(
                np.ascontiguousarray(picture), photometric="rgb", compression="jpeg", tile=(256, 256), metadata=None,
                compressionargs={"level": 92}, description=xml if number == 0 else None, software=False,
                resolution=(40_000, 40_000), resolutionunit=3,
            )  # fmt: skip
    return path
