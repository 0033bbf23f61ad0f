"""What a file is, told by its first bytes: photographs, and what lies among them (videos, sound, documents).

Data only: a table of signatures, and the allow-list of what is opened at all. No pixels are made here.
"""

import codecs
import re
import struct
from itertools import islice
from typing import BinaryIO, NamedTuple

from recolor_fast.photographs import directories, jpeg

# The formats that Pillow opens, by its own names. First those whose content begins with a signature, then those that
# only a suffix makes likely. Its other plugins (Blizzard's BLP, Eutechnyx' FTEX, electron microscopes' SPIDER, ...)
# are never run: no photographs come in them, hardly anybody tests them, and each is one more parser that a broken or
# hostile file reaches. Nor are EPS and WMF, which start other programs, and what Pillow can name but not decode.
SIGNED = "JPEG PNG TIFF WEBP GIF BMP AVIF JPEG2000 PPM PSD QOI DDS SGI SUN ICNS FITS DCX".split()
UNSIGNED = "ICO CUR DIB PCD PCX TGA".split()

HEAD = 4096  # bytes that signatures are looked for in


class Kind(NamedTuple):
    """What a file is."""

    name: str
    """With its article: "a PDF"."""
    reader: str = ""
    """What reads it: "Pillow" or a key of libraries.LIBRARIES; empty: nothing here does."""
    image: bool = False
    """Whether it is a picture, which a user expects to be colored, or to be told of."""


def _image(name: str, reader: str = "") -> Kind:
    return Kind(name, reader, image=True)


_HEIC = _image("a HEIC photograph", "HEIF")
_RAW = "a camera's raw photograph"
_EBML = rb"\x1aE\xdf\xa3(?s:.{0,64}?)\x42\x82[\x80-\xff]"  # DocType, and the length of what it says
_FTYP = rb"(?s:.{4})ftyp"
_TEXT = rb"(?:\xef\xbb\xbf)?\s{0,99}"  # a byte order mark, and white space
_AMONG = rb"(?s:.{4}){1,16}?"  # what lies between the major brand and one that the file is compatible with

# A file is the first of these whose pattern its first bytes match; "{}" stands for what a group matched. Patterns are
# of the formats' own specifications or registrations.
SIGNATURES: tuple[tuple[bytes, Kind], ...] = (
    # photographs and pictures that are read
    (rb"\xff\xd8\xff\xf7", _image("a JPEG-LS image")),
    (rb"\xff\xd8\xff", _image("a JPEG", "Pillow")),
    (rb"\x89PNG\r\n\x1a\n", _image("a PNG", "Pillow")),
    (rb"RIFF(?s:.{4})WEBP", _image("a WebP", "Pillow")),
    (rb"GIF8[79]a", _image("a GIF", "Pillow")),
    (rb"8BPS\x00\x01", _image("a Photoshop file (PSD)", "Pillow")),
    (rb"\x00\x00\x00\x0cjP  \r\n\x87\n(?s:.{4})ftypmjp2", Kind("a video (Motion JPEG 2000)")),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", _image("a JPEG 2000", "Pillow")),
    (_FTYP + rb"avi[fs]", _image("an AVIF", "Pillow")),
    (_FTYP + rb"(?:hei[cxms]|hev[cxms])", _HEIC),
    (_FTYP + rb"(?:mif[123]|miaf|msf1)" + _AMONG + rb"avi[fs]", _image("an AVIF", "Pillow")),
    (_FTYP + rb"(?:mif[123]|miaf|msf1|avc[is]|vvi[cs]|jpe?gs?|j2k[is]|unif)", _HEIC),
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n", _image("a JPEG XL", "JXL")),
    # raw photographs with a signature; those that are a TIFF inside are told from its tags, see _raw_maker
    (rb"II\*\x00\x10\x00\x00\x00CR", _image(f"{_RAW} (Canon CR2)", "RAW")),
    (_FTYP + rb"crx ", _image(f"{_RAW} (Canon CR3)", "RAW")),
    (rb"II\x1a\x00\x00\x00HEAPCCDR", _image(f"{_RAW} (Canon CRW)", "RAW")),
    (rb"FUJIFILMCCD-RAW", _image(f"{_RAW} (Fujifilm RAF)", "RAW")),
    (rb"IIR[OS]\x08|MMOR\x00", _image(f"{_RAW} (Olympus ORF)", "RAW")),
    (rb"IIU\x00", _image(f"{_RAW} (Panasonic RW2)", "RAW")),
    (rb"\x00MRM", _image(f"{_RAW} (Minolta MRW)", "RAW")),
    (rb"FOVb", _image(f"{_RAW} (Sigma X3F)", "RAW")),
    (rb"(?:II\*\x00|MM\x00\*)(?s:.{4})(?:IIII[CT]waR|MMMMRaw[CT])", _image(f"{_RAW} (Phase One IIQ)", "RAW")),
    (rb"II[*+]\x00|MM\x00[*+]", _image("a TIFF", "Pillow")),
    # pictures that are not
    (rb"8BPS\x00\x02", _image("a large Photoshop file (PSB)")),
    (rb"II\xbc[\x00\x01]", _image("a JPEG XR image")),
    (rb"\x8aMNG\r\n\x1a\n|\x8bJNG\r\n\x1a\n", _image("an MNG or JNG image")),
    (rb"v/1\x01", _image("an OpenEXR image")),
    (rb"#\?(?:RADIANCE|RGBE)", _image("a Radiance HDR image")),
    (rb"SDPX|XPDS|\x80\x2a\x5f\xd7", _image("a scanned film frame (DPX or Cineon)")),
    (rb"gimp xcf", _image("a GIMP file (XCF)")),
    (rb"PDN3", _image("a Paint.NET file")),
    (rb"Paint Shop Pro Image File", _image("a Paint Shop Pro file")),
    (rb"\x89LFP\r\n\x1a\n", _image("a light field photograph (Lytro)")),
    (rb"BPG\xfb", _image("a BPG image")),
    (rb"FLIF[1-6A-F\x51-\x66]", _image("a FLIF image")),
    (rb"\x97JB2\r\n\x1a\n", _image("a JBIG2 image")),
    (rb"AT&TFORM", _image("a DjVu document")),
    (rb"id=ImageMagick", _image("an ImageMagick file (MIFF)")),
    (rb"farbfeld", _image("a farbfeld image")),
    (rb"DanM|LinS", _image("a Windows Paint picture of 1985 (MSP)")),
    (rb"Image type: ", _image("an IFUNC image (IM)")),
    (rb"(?s:.{128})DICM", Kind("a medical image (DICOM)")),
    (rb"FTEX|BLP[12]|\xabKTX|PVR\x03|VTF\x00", Kind("a game's texture")),
    (rb"/\* XPM \*/|#define [^\n]*_width ", Kind("an icon in source code (XPM or XBM)")),
    (rb"\xd7\xcd\xc6\x9a|\x01\x00\x00\x00(?s:.{36}) EMF", Kind("a Windows drawing (WMF or EMF)")),
    (rb"%!PS|\xc5\xd0\xd3\xc6", Kind("a PostScript file")),
    (rb"RIFF(?s:.{4})(?:CDR|cdr)", Kind("a CorelDRAW file")),
    (_TEXT + rb"(?:<(?:\?xml|!--|!DOCTYPE svg)[^>]*>\s*)*<svg\b", Kind("an SVG")),
    # video
    (_FTYP + rb"qt  |\x00(?s:.{3})(?:moov|mdat|wide|pnot)", Kind("a video (QuickTime)")),
    (_FTYP + rb"(?:M4[ABP] |f4[ab] )", Kind("a sound file (M4A)")),
    (_FTYP + rb"3g", Kind("a video (3GP)")),
    (
        _FTYP
        + rb"(?:iso[m2-9a-f]|mp4[12]|mp7[1t]|avc1|M4V[ HP]?|MSNV|ND[SX]|F4[VP]|f4v|dash|XAVC|kddi|hvc1|hev1|av01)",
        Kind("a video (MP4)"),
    ),
    (rb"RIFF(?s:.{4})(?:AVI |AVIX|AMV )", Kind("a video (AVI)")),
    (_EBML + rb"webm", Kind("a video (WebM)")),
    (_EBML + rb"matroska", Kind("a video (Matroska)")),
    (rb"\x00\x00\x01[\xba\xb3]", Kind("a video (MPEG)")),
    (rb"G(?s:.{187})G(?s:.{187})G|(?s:.{4})G(?s:.{191})G(?s:.{191})G", Kind("a video (MPEG transport stream)")),
    (rb"0&\xb2u\x8ef\xcf\x11", Kind("a video or sound file (Windows Media)")),
    (rb"(?s:.{4})RED[12]", Kind("a video (RED)")),
    (rb"[FCZ]WS[\x01-\x40]", Kind("a Flash animation")),
    (rb"FLV\x01", Kind("a video (Flash)")),
    (rb"OggS(?s:.{24})(?:\x80theora|fishead)", Kind("a video (Ogg)")),
    (rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", Kind("a video (MXF)")),
    (rb"\.RMF", Kind("a video or sound file (RealMedia)")),
    (rb"YUV4MPEG2|DKIF", Kind("a video (raw frames)")),
    (rb"\x1f\x07\x00[\x3f\xbf]", Kind("a video (DV)")),
    (rb"(?s:.{4})[\x11\x12]\xaf", Kind("an animation (FLI or FLC)")),
    # sound
    (rb"(?:RIFF|RF64|BW64)(?s:.{4})WAVE", Kind("a sound file (WAV)")),
    (rb"ID3[\x02-\x04]|\xff[\xfb\xfa\xf3\xf2\xe3]", Kind("a sound file (MP3)")),
    (rb"fLaC", Kind("a sound file (FLAC)")),
    (rb"OggS", Kind("a sound file (Ogg)")),
    (rb"FORM(?s:.{4})AIF[FC]", Kind("a sound file (AIFF)")),
    (rb"\xff[\xf1\xf9]", Kind("a sound file (AAC)")),
    (rb"MThd|RIFF(?s:.{4})RMID", Kind("a sound file (MIDI)")),
    (rb"\.snd\x00|caff\x00|#!AMR|MAC .[\x0e\x0f]|wvpk|DSD \x1c", Kind("a sound file")),
    # documents, and what else lies among photographs
    (_TEXT + rb"%PDF-", Kind("a PDF")),
    (_TEXT + rb"<(?i:!doctype html|html)\b", Kind("a web page")),
    (_TEXT + rb"(?:<\?xpacket|<x:xmpmeta)", Kind("a photograph's sidecar (XMP)")),
    (rb"\x00\x05\x16[\x00\x07]\x00", Kind("a Mac's companion file (AppleDouble)")),
    (rb"bplist00|<\?xml[^>]*>\s*<!DOCTYPE plist", Kind("an Apple property list")),
    (rb"PK\x03\x04(?s:.{26})mimetypeapplication/epub", Kind("an EPUB")),
    (rb"PK(?:\x03\x04|\x05\x06)", Kind("a ZIP archive or an Office document")),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("an old Office document or thumbnail store (OLE)")),
    (rb"\{\\rtf", Kind("a rich text document (RTF)")),
    (rb"Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|\x1f\x8b\x08|BZh[1-9]1AY|\xfd7zXZ\x00|\x28\xb5\x2f\xfd", Kind("an archive")),
    (rb"(?s:.{257})ustar", Kind("an archive (tar)")),
    (rb"SQLite format 3\x00", Kind("a database (SQLite)")),
    # of a known container, but of no kind that is known
    (rb"RIFF(?s:.{4})(....)", Kind("a RIFF file of kind {}")),
    (_FTYP + rb"(....)", Kind("an ISO media file of kind {}")),
    (_EBML + rb"([ -~]+)", Kind("an EBML file of kind {}")),
)
_PATTERNS = tuple((re.compile(pattern), kind) for pattern, kind in SIGNATURES)


def kind(file: BinaryIO) -> Kind | None:
    """What a file is by its content, None where it begins like nothing known; reads little, and goes back to the start.

    A TIFF's directories are followed wherever they lie, to tell a camera's raw photograph, whose first picture is but a
    thumbnail, from other TIFFs.
    """
    file.seek(0)
    head = file.read(HEAD)
    result = None
    for pattern, candidate in _PATTERNS:
        if match := pattern.match(head):
            shown = [group.decode("ascii", "backslashreplace").strip() for group in match.groups()]
            result = candidate._replace(name=candidate.name.format(*shown))
            break
    if result is not None and result.name == "a TIFF" and (maker := _raw_maker(file)):
        result = _image(f"{_RAW} ({maker})", "RAW")
    file.seek(0)
    return result


_WRITTEN = re.compile(rb"P[1-7Ff]\s|SIMPLE  =")  # what pictures begin with whose headers are text: PNM, PAM, PFM, FITS


def is_text(data: bytes) -> bool:
    """Whether a file's first bytes are text, UTF-8, and not the header of a picture."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data[:HEAD])  # the last letter may be cut
    except UnicodeDecodeError:
        return False
    letters = "".join(text.split())
    return letters != "" and letters.isprintable() and not _WRITTEN.match(data)


def layout(kind: Kind, data: bytes) -> str:
    """What an intact file of a kind that can be read holds, where that may be why Pillow does not open it. Raises
    ValueError or struct.error for other kinds and for broken files. (A TIFF tells it itself, see tiff.read.)"""
    if data[:2] == b"\xff\xd8":
        return _jpeg_layout(data)
    if data[:4] != b"8BPS":
        raise ValueError(f"{kind.name}: expected a Photoshop file or a JPEG")
    channels, _, _, bits, mode = struct.unpack_from(">HIIHH", data, 12)
    return f"{channels} channel{'s' * (channels > 1)} of {bits} bits, mode {mode}"


FRAMES = jpeg.FRAMES | {0xF7: "JPEG-LS"}  # the latter of ITU-T T.87


def _jpeg_layout(data: bytes) -> str:
    """How a JPEG with whole headers is coded. Raises ValueError or struct.error for others."""
    end = 2
    while True:
        marker, segment, _, end = jpeg.mark(data, end)
        if segment is None or marker == jpeg.SOS:
            raise ValueError("a JPEG whose headers are damaged")
        if marker in FRAMES:
            bits, height, width, count = struct.unpack_from(">BHHB", segment)
            unknown = "" if height and width else ", of a size that its header does not say"
            return f"{FRAMES[marker]}, {count} sample{'s' * (count > 1)} of {bits} bits{unknown}"


_CFA, _LINEAR_RAW, _DNG_VERSION = 32803, 34892, 50706


def _raw_maker(file: BinaryIO) -> str:
    """Whose raw photograph a TIFF is ("DNG", "NIKON CORPORATION"), or an empty text where it is none: whether any
    picture in it, SubIFDs' too, is of a sensor's samples."""
    make = ""
    try:
        file.seek(0)
        form = directories.layout(file.read(4))
        for page in islice(directories.chain(file), 16):  # a raw file has a handful, a scan may have thousands
            name = page.tags.get(directories.MAKE, b"")
            make = make or (name.decode("ascii", "replace").strip("\0 ") if isinstance(name, bytes) else "")
            if _DNG_VERSION in page.tags:
                return "DNG"
            sensors = (one.number(directories.PHOTOMETRIC) for one in (page, *directories.below(file, form, page)))
            if not {_CFA, _LINEAR_RAW}.isdisjoint(sensors):
                return make or "of no maker's name"
    except (struct.error, ValueError, OverflowError):
        pass  # cut off or broken: a TIFF, as far as one can tell
    return ""
