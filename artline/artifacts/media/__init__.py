"""Media: what is looked at or listened to, logged with runs and kept in artifacts and tables."""

from __future__ import annotations

from artline.artifacts.media.annotations import Boxes, Classes, Mask
from artline.artifacts.media.audio import Audio
from artline.artifacts.media.base import ArtifactSink, Content, FileMedia, Kept, Media, Sink, Source, sink_of
from artline.artifacts.media.histogram import Histogram
from artline.artifacts.media.html import Html
from artline.artifacts.media.image import Image
from artline.artifacts.media.molecule import Molecule
from artline.artifacts.media.object3d import Object3D
from artline.artifacts.media.plot import Plot
from artline.artifacts.media.plotly import Plotly
from artline.artifacts.media.video import Video

__all__ = [
    "FILE_KINDS",
    "ArtifactSink",
    "Audio",
    "Boxes",
    "Classes",
    "Content",
    "FileMedia",
    "Histogram",
    "Html",
    "Image",
    "Kept",
    "Mask",
    "Media",
    "Molecule",
    "Object3D",
    "Plot",
    "Plotly",
    "Sink",
    "Source",
    "Video",
    "sink_of",
]

# In the order in which a file's suffix tells of what kind it is.
FILE_KINDS: tuple[type[FileMedia], ...] = (Image, Audio, Video, Html, Object3D, Molecule, Plotly, Plot)
