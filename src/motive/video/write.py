"""Frames to a video file."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_video(path: Path, frames: NDArray[np.uint8], fps: float, crf: int = 12) -> None:
    """Write uint8 RGB [F, H, W, 3], H and W even, as H.264 in mp4 at a constant `fps`; the file appears whole or not at all.

    crf: libx264's quality, 0 (lossless) to 51; 12 is visually lossless. Colours are tagged BT.709, limited range. On
    one machine the same frames give the same bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    height, width = frames.shape[1:3]
    try:
        with av.open(str(aside), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1_000_000))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            # On processors with AVX-512, x264's macroblock tree reads memory that nothing was written to, if pictures are
            # small: the same frames then give different files.
            stream.options = {"crf": str(crf), "preset": "medium", "x264-params": "mbtree=0"}
            context = stream.codec_context
            context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1, 1
            for picture in frames:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")))
            container.mux(stream.encode())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
