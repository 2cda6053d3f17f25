"""Influence while a model is trained: which clips are helping the queries now, with the weights as they are.

Each measured step is a line of influence.jsonl:

    {"step": int, "queries": [query ids], "clips": {id: [Q numbers]}, "total": {id: [Q numbers]}}

clips: influence of the clips of that step's batch on each query, before the step. total: of the same clips, the sum over all
measured steps so far; a clip's last total is its whole one.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch.distributed as dist
from torch import nn

from motive.attribution.features import clip_attributor, feature_fingerprint
from motive.attribution.influence import query_targets
from motive.attribution.prepare import Prepared, PreparedFolder, prepared_fingerprint
from motive.attribution.run_stores import WHICH, open_store
from motive.config import Config
from motive.errors import ClipError, ConfigError, StoreError
from motive.fingerprints import refuse_differences
from motive.gradients.capture import Gradient
from motive.models.registry import load_model
from motive.training.arms import Arm, arm_clips
from motive.training.curves import Lines
from motive.training.processes import is_first
from motive.training.tuning import plain_weights
from motive.video.table import Clip

Influence = dict[str, list[float]]
"""Influence of some clips, by id, on each query."""


class InfluenceLog:
    """Call it in a training loop, before each step, as log(step, denoiser, ids of the batch's clips).

    Every `every` steps it writes a line to `file`. A clip's gradient is that of the run's attribution: the same loss, noise,
    projector and seed, but with the denoiser's weights of that moment, on a copy of it, so that nothing of the loop's own is
    touched. The queries' features are the stored ones. The clips must belong to the run's scored pool and be prepared.

    With torch.distributed each process gives its own clips, and the first one writes.
    """

    def __init__(self, config: Config, file: Path, every: int = 50, done: int = 0) -> None:
        """Go on after `done` steps. Raises StoreError if the run is not scored, or with other settings than these."""
        source = config.model
        model = load_model(source.path, config.gradients.sigmas, source.device, source.dtype, source.revision)
        made_with = prepared_fingerprint(config, model)
        pool, queries = (open_store(config, which) for which in WHICH)
        fingerprint = feature_fingerprint(config, model, made_with)
        stored = {key: value for key, value in pool.fingerprint.items() if key in fingerprint}
        refuse_differences(
            f"{pool.folder}: attributed with other settings than train.influence_every would use", stored, fingerprint
        )
        self.config, self.every, self.model = config, every, model
        self._targets, rows = query_targets(pool, queries, config.influence.hessian)
        self.queries = [row["id"] for row in rows]
        self._prepared = PreparedFolder(config.out / "prepared", made_with)
        self._clips = _scored_clips(config)
        self._attribute = clip_attributor(config, model, "pool")
        self._total: dict[str, np.ndarray] = {}
        self._lines = Lines(file, done) if is_first() else None
        for line in self._lines.kept if self._lines else []:
            self._total |= {clip: np.array(total) for clip, total in line["total"].items()}

    def __call__(self, step: int, denoiser: nn.Module, clips: Iterable[str]) -> None:
        if step % self.every:
            return
        found = _of_all(self.measure(denoiser, clips))
        if self._lines is None:
            return
        for clip, influence in found.items():
            self._total[clip] = self._total.get(clip, 0.0) + np.array(influence)
        total = {clip: self._total[clip].tolist() for clip in found}
        self._lines.add({"step": step, "queries": self.queries, "clips": found, "total": total})

    def measure(self, denoiser: nn.Module, clips: Iterable[str]) -> Influence:
        """Influence of each of these clips now; one whose gradient has no direction is left out."""
        device = next(denoiser.parameters()).device
        if self.model.device != device:
            self.model.free()
            self.model.device = device
            self._attribute = clip_attributor(self.config, self.model, "pool")
        self.model.denoiser.load_state_dict(plain_weights(denoiser))
        ids, found = list(dict.fromkeys(clips)), Influence()
        size = self.config.gradients.batch
        for first in range(0, len(ids), size):
            some = ids[first : first + size]
            for clip, feature in zip(some, self._attribute([self._load(clip) for clip in some]), strict=True):
                if isinstance(feature, Gradient):
                    found[clip] = (self._targets @ feature.feature.double().numpy()).tolist()
        return found

    def _load(self, clip: str) -> Prepared:
        if clip not in self._clips:
            raise ConfigError(f"{clip!r} is no clip of {self.config.out}'s scored pool, so its influence cannot be measured")
        try:
            return self._prepared.load(self._clips[clip])
        except ClipError as error:
            raise StoreError(f"{self._prepared.folder}: clip {clip} {error}; its influence cannot be measured") from None


def _scored_clips(config: Config) -> dict[str, Clip]:
    return {clip.id: clip for clip in arm_clips(config, Arm("full", config.seed, "full"))}


def _of_all(own: Influence) -> Influence:
    """What all processes have measured, in their order."""
    if not dist.is_initialized():
        return own
    parts: list[Influence] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, own)
    return {clip: influence for part in parts for clip, influence in part.items()}
