"""The network of AllTracker (Harley et al. 2025), for inference, with the parameter names of its published checkpoints.

    frames -> features at an eighth of the size -> correlation of every place with every other, at five scales
    -> a few rounds, each of which looks the correlation up around the present estimate and refines displacement,
       visibility and confidence: attention along time at every place, then convolution in every frame
    -> up to full size by a learned mean of neighbours

Two variants: full (a ConvNeXt, 16.5 million parameters) and tiny (6.3 million).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motive.motion.pairs import STRIDE

WINDOW = 16
"""Frames that attend to each other."""

DIM = 128
LEVELS, RADIUS = 5, 4


class AllTracker(nn.Module):
    """Displacement, visibility and confidence of every pixel of a first frame in later ones.

    The weights may be float32 or bfloat16; coordinates, which bfloat16 would round to half a pixel, stay in float32.
    """

    time_emb: Tensor

    def __init__(self, tiny: bool = False) -> None:
        super().__init__()
        self.tiny = tiny
        if tiny:
            self.fnet = BasicEncoder()
        else:
            self.cnn = ConvNeXt()
            self.dot_conv = nn.Conv2d(384, 2 * DIM, 1)
        self.upsample_weight = nn.Sequential(
            nn.Conv2d(DIM, 2 * DIM, 3, padding=1), nn.ReLU(), nn.Conv2d(2 * DIM, 9 * STRIDE**2, 1)
        )
        self.flow_head = _head()
        self.visconf_head = _head()
        self.update_block = UpdateBlock()
        self.register_buffer("time_emb", _time_embedding(WINDOW, DIM))

    def features(self, frames: Tensor) -> Tensor:
        """RGB 0..255 [N, 3, H, W], sizes multiples of 64, to [N, C, H/8, W/8]."""
        mean, std = (
            torch.tensor(v, device=frames.device).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        normal = ((frames.float() / 255 - mean) / std).to(self.update_block.final_conv.weight.dtype)
        return self.fnet(normal) if self.tiny else self.dot_conv(self.cnn(normal))

    def track(
        self, anchor: Tensor, targets: Tensor, motion: Tensor, seen: Tensor, rounds: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Refine where what `anchor` shows is in `targets`.

        anchor, targets: features [B, C, h, w] and [B, S, C, h, w], S consecutive frames. motion, seen: float32
        [B, S, 2, h, w], first estimates in eighths of the size, (dx, dy) and the logits of visibility and confidence.
        Returns both refined, then both at full size: float32 [B, S, 2, 8h, 8w], px and logits.
        """
        batch, length, _, height, width = targets.shape
        here = anchor[:, None].expand_as(targets).flatten(0, 1)
        pyramid = correlations(here, targets.flatten(0, 1))
        grid = _grid(height, width, targets.device)
        # The full variant's features are two halves, one to refine and one to keep; the tiny one's are both at once.
        state, context = (here, here) if self.tiny else here.split(DIM, dim=1)
        context = context + self._time(length, context.dtype).repeat(batch, 1)[..., None, None]
        motion, seen = motion.flatten(0, 1), seen.flatten(0, 1)
        for _ in range(rounds):
            looked_up = look_up(pyramid, grid + motion).to(state.dtype)
            state = self.update_block(state, context, seen.to(state.dtype), looked_up, motion.to(state.dtype), length)
            motion = motion + self.flow_head(state).float()
            seen = seen + self.visconf_head(state).float()
        weights = 0.25 * self.upsample_weight(state).float()
        found = motion, seen, enlarge(motion, weights), enlarge(seen, weights)
        motion, seen, fine_motion, fine_seen = (part.unflatten(0, (batch, length)) for part in found)
        return motion, seen, fine_motion, fine_seen

    def _time(self, length: int, dtype: torch.dtype) -> Tensor:
        """[S, DIM]; a pair of frames is the first and second of a window, other lengths stretch it."""
        if length == 1:
            return self.time_emb[0, 1:2].to(dtype)
        if length == self.time_emb.shape[1]:
            return self.time_emb[0].to(dtype)
        stretched = F.interpolate(self.time_emb.float().transpose(1, 2), size=length, mode="linear")
        return stretched[0].T.to(dtype)


def correlations(here: Tensor, there: Tensor) -> list[Tensor]:
    """Inner products of all places of `here` [N, C, h, w] with all of `there`, which halves in size from level to level:
    float32 [N h w, 1, h', w'] each, over sqrt(C)."""
    levels = []
    for level in range(LEVELS):
        if level:
            there = F.interpolate(there, scale_factor=0.5, mode="area")
        product = here.flatten(2).transpose(1, 2) @ there.flatten(2)
        levels.append((product.float() / here.shape[1] ** 0.5).view(-1, 1, *there.shape[2:]))
    return levels


def look_up(pyramid: list[Tensor], places: Tensor) -> Tensor:
    """Correlations at 9 x 9 points around `places` [N, 2, h, w], in pixels of the first level: [N, levels 81, h, w]."""
    count, _, height, width = places.shape
    steps = torch.arange(-RADIUS, RADIUS + 1, device=places.device, dtype=places.dtype)
    # x is the slow axis of the window: so the published weights have learned it.
    window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
    centres = places.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    found = []
    for level, products in enumerate(pyramid):
        points = centres / 2**level + window
        size = torch.tensor([max(products.shape[-1] - 1, 1), max(products.shape[-2] - 1, 1)], device=points.device)
        sampled = F.grid_sample(products, 2 * points / size - 1, padding_mode="border", align_corners=True)
        found.append(sampled.view(count, height, width, -1))
    return torch.cat(found, dim=-1).permute(0, 3, 1, 2)


def enlarge(coarse: Tensor, weights: Tensor) -> Tensor:
    """Eight times [N, 2, h, w], at eight times the size: every fine pixel is a mean, of learned weights, of its place's
    3 x 3 coarse neighbours. weights: logits [N, 9 * 64, h, w]."""
    count, _, height, width = coarse.shape
    shares = weights.view(count, 1, 9, STRIDE, STRIDE, height, width).softmax(dim=2)
    neighbours = F.unfold(STRIDE * coarse, 3, padding=1).view(count, 2, 9, 1, 1, height, width)
    fine = (shares * neighbours).sum(dim=2)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(count, 2, STRIDE * height, STRIDE * width)


class UpdateBlock(nn.Module):
    """One round: what was looked up and the present estimate, into the state."""

    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.motion_encoder = MotionEncoder()
        self.compressor = nn.Conv2d(3 * DIM + 2, DIM, 1)
        self.refine = nn.ModuleList(block for _ in range(blocks) for block in (TimeBlock(), SpaceBlock(DIM)))
        self.final_conv = nn.Conv2d(DIM, DIM, 1)

    def forward(self, state: Tensor, context: Tensor, seen: Tensor, looked_up: Tensor, motion: Tensor, length: int) -> Tensor:
        evidence = self.motion_encoder(motion, looked_up)
        state = self.compressor(torch.cat([state, context, evidence, seen], dim=1))
        for block in self.refine:
            state = block(state, length) if isinstance(block, TimeBlock) else block(state)
        return self.final_conv(state)


class MotionEncoder(nn.Module):
    """Correlations and displacement to DIM channels, of which the last two are the displacement itself."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 4 * DIM, 1)
        self.convc2 = nn.Conv2d(4 * DIM, DIM + DIM // 2, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 2 * DIM, 5, padding=2)
        self.convf2 = nn.Conv2d(2 * DIM, DIM // 2, 3, padding=1)
        self.conv = nn.Conv2d(2 * DIM, DIM - 2, 3, padding=1)

    def forward(self, motion: Tensor, looked_up: Tensor) -> Tensor:
        seen = self.convc2(self.convc1(looked_up).relu()).relu()
        moved = self.convf2(self.convf1(motion).relu()).relu()
        return torch.cat([self.conv(torch.cat([seen, moved], dim=1)).relu(), motion], dim=1)


class TimeBlock(nn.Module):
    """Every place attends to itself along time: [B S, C, h, w] -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Transformer(DIM, heads=8)
        self.layer_scale = nn.Parameter(torch.ones(DIM, 1))

    def forward(self, x: Tensor, length: int) -> Tensor:
        _, channels, height, width = x.shape
        tokens = x.view(-1, length, channels, height, width).permute(0, 3, 4, 1, 2).reshape(-1, length, channels)
        tokens = tokens + self.layer_scale[:, 0] * self.block(tokens)
        return tokens.view(-1, height, width, length, channels).permute(0, 3, 4, 1, 2).reshape(x.shape)


class Transformer(nn.Module):
    """Attention, then a perceptron, each after a norm and beside a shortcut: [N, S, C] -> the same."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.attn = Attention(dim, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm(x)), approximate="tanh"))


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q, self.to_kv, self.to_out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.to_q(x), *self.to_kv(x).chunk(2, dim=-1))
        )
        return self.to_out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class SpaceBlock(nn.Module):
    """ConvNeXt's block: a 7 x 7 convolution a channel, then a perceptron a place; [N, C, h, w] -> the same."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, 7, padding=3, groups=dim),
            Permute(0, 2, 3, 1),
            nn.LayerNorm(dim, eps=1e-6),
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Linear(4 * dim, dim),
            Permute(0, 3, 1, 2),
        )
        self.layer_scale = nn.Parameter(torch.ones(dim, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer_scale * self.block(x)


class ConvNeXt(nn.Module):
    """A ConvNeXt-T up to its third stage, which here keeps the size: 384 channels at an eighth of it."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 96, 4, stride=4), ChannelNorm(96)),
            nn.Sequential(*(SpaceBlock(96) for _ in range(3))),
            nn.Sequential(ChannelNorm(96), nn.Conv2d(96, 192, 2, stride=2)),
            nn.Sequential(*(SpaceBlock(192) for _ in range(3))),
            nn.Sequential(ChannelNorm(192), nn.Conv2d(192, 384, 3, padding=2, dilation=2)),
            nn.Sequential(*(SpaceBlock(384) for _ in range(9))),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)


class BasicEncoder(nn.Module):
    """The tiny variant's encoder: residual stages at 1/2 to 1/16 of the size, all brought to an eighth and joined."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64, 1), ResidualBlock(64, 64, 1))
        self.layer2 = nn.Sequential(ResidualBlock(64, 96, 2), ResidualBlock(96, 96, 1))
        self.layer3 = nn.Sequential(ResidualBlock(96, DIM, 2), ResidualBlock(DIM, DIM, 1))
        self.layer4 = nn.Sequential(ResidualBlock(DIM, DIM, 2), ResidualBlock(DIM, DIM, 1))
        self.conv2 = nn.Conv2d(64 + 96 + 2 * DIM, 2 * DIM, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * DIM, DIM, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[2] // STRIDE, x.shape[3] // STRIDE)
        x = F.instance_norm(self.conv1(x)).relu()
        stages = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            stages.append(F.interpolate(x, size, mode="bilinear", align_corners=True))
        return self.conv3(F.instance_norm(self.conv2(torch.cat(stages, dim=1))).relu())


class ResidualBlock(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        # A Sequential of one, for its name in the checkpoint: the norm behind it has no parameters.
        self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride)) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.instance_norm(self.conv1(x)).relu()
        y = F.instance_norm(self.conv2(y)).relu()
        return (y + (x if self.downsample is None else F.instance_norm(self.downsample(x)))).relu()


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of [N, C, h, w]."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(DIM, 2 * DIM, 3, padding=1), nn.ReLU(), nn.Conv2d(2 * DIM, 2, 3, padding=1))


def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """(x, y) of every place, float32 [2, h, w]."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y]).float()


def _time_embedding(length: int, dim: int) -> Tensor:
    """Sines, then cosines, of times 0 .. length - 1 at dim / 2 frequencies from 1 down to 1/10000: [1, length, dim]."""
    frequency = 10000.0 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)[None].float()
