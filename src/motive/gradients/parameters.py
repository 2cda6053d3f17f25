"""Which of a denoiser's parameters count."""

import fnmatch
import re
from collections import Counter
from collections.abc import Sequence

from torch import nn

from motive.errors import ConfigError

LAST = re.compile(r"last:(\d+) blocks?")
NUMBERED = re.compile(r"((?:.*?\.)?)(\d+)\.")


def choose_parameters(denoiser: nn.Module, patterns: Sequence[str]) -> None:
    """Let only those parameters require a gradient that one of `patterns` names (see `fitting_names`).

    The others do not count, and the backward pass ends where none that does is left below. Raises ConfigError as
    `fitting_names` does.
    """
    chosen = fitting_names([name for name, _ in denoiser.named_parameters()], patterns)
    for name, parameter in denoiser.named_parameters():
        parameter.requires_grad_(name in chosen)


def fitting_names(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Those of a denoiser's parameter `names` that fit one of `patterns`.

    A pattern is written as in a shell, "*.attn1.*", or by depth, "last:10 blocks". Raises ConfigError if one fits no
    parameter, or asks for more blocks than there are.
    """
    fitting = {pattern: _fitting(names, pattern) for pattern in patterns}
    if missing := [pattern for pattern, found in fitting.items() if not found]:
        raise ConfigError(
            f"gradients.parameters: {missing[0]!r} fits none of the denoiser's {len(names)} parameters, which are called "
            f"{names[0]}, {names[len(names) // 2]} and so on"
        )
    return set().union(*fitting.values())


def _fitting(names: Sequence[str], pattern: str) -> set[str]:
    if last := LAST.fullmatch(pattern):
        return _last_blocks(names, int(last[1]), pattern)
    return set(fnmatch.filter(names, pattern))


def _last_blocks(names: Sequence[str], count: int, pattern: str) -> set[str]:
    """Parameters of the last `count` blocks: the members of that numbered list that holds most parameters."""
    places = {name: (found[1], int(found[2])) for name in names if (found := NUMBERED.match(name))}
    if not places:
        raise ConfigError(f"gradients.parameters: {pattern!r}, but this denoiser has no numbered blocks")
    (blocks, _), *_ = Counter(prefix for prefix, _ in places.values()).most_common(1)
    numbers = sorted({number for prefix, number in places.values() if prefix == blocks})
    if not 1 <= count <= len(numbers):
        raise ConfigError(f"gradients.parameters: {pattern!r}, but this denoiser has {len(numbers)} blocks")
    return {name for name, (prefix, number) in places.items() if prefix == blocks and number in numbers[-count:]}
