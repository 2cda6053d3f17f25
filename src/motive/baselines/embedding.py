"""Clips that look like the queries to a pretrained video encoder."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from motive.attribution.ahead import ClipPreparer, clip_sampling, clip_workers
from motive.attribution.prepare import fetch_limits
from motive.attribution.reading import frames_reader
from motive.baselines.choice import Choice, Run, by_vote
from motive.baselines.encoder import video_encoder
from motive.baselines.likeness import Vectors, cosines, kept_vectors
from motive.errors import ClipError, ConfigError, StoreError
from motive.files import digest
from motive.models.registry import find_device


def embedding(run: Run) -> Choice:
    """The vote on cosines of the encoder's vectors of the clips, as `video` standardises them. Vectors are kept, so a
    run that is stopped goes on."""
    section = run.config.baselines
    if section.encoder is None:
        raise ConfigError(
            "baselines.encoder: give the folder or hub id of a video encoder, such as facebook/vjepa2-vitl-fpc64-256"
        )
    embed, weights = video_encoder(section.encoder, section.encoder_frames, find_device(run.config.model.device))
    pool, queries = run.pool(), run.queries()
    # A key is a video and a caption; one of two clips of the same video is enough.
    clips = {clip.sha256 or clip.key: clip for clip in (*pool, *queries)}
    sampling = clip_sampling(run.config)
    failed: list[str] = []

    def missing(keys: list[str]) -> Iterator[tuple[str, Vectors]]:
        reader = partial(frames_reader, sampling, fetch_limits(run.config))
        with (
            run.progress.steps("embedding clips", len(keys)) as step,
            clip_workers(run.config, lambda _: reader) as workers,
        ):
            embedder = ClipPreparer(workers, lambda _, packet: embed(packet.arrays["frames"]))
            for key, vector in zip(keys, embedder.in_order(clips[key] for key in keys), strict=True):
                if isinstance(vector, ClipError):
                    failed.append(f"{clips[key].name or clips[key].id}: {vector}")
                else:
                    yield key, vector
                step()

    file = run.config.out / "baselines" / "embedding" / "vectors.safetensors"
    vectors = kept_vectors(file, digest("1", weights, repr(sampling)), clips, missing)
    if failed:
        raise StoreError(
            f"{len(failed)} clips cannot be embedded, the first of them:\n" + "\n".join(f"  {f}" for f in failed[:10])
        )
    rows = [np.stack([vectors[clip.sha256 or clip.key] for clip in several]) for several in (pool, queries)]
    return by_vote(run, cosines(*rows))
