"""The experiment's results as a Markdown page."""

from typing import Any

from motive.errors import ConfigError
from motive.lab.arms import OWN, SHARED
from motive.lab.results import markdown

TITLES = {
    "base": "base, not trained",
    "full": "full pool",
    "random": "random tenth",
    "magnitude": "largest motion magnitude",
    "latents": "embedding: likeness of pooled VAE latents",
    "nomask": "Motive without mask",
    "motive": "**Motive**",
    "bottom": "Motive's bottom tenth",
}
TITLE = "# Training on what is chosen"
DISCUSSION = "## What this says"


def page(result: dict[str, Any], before: str = "") -> str:
    """The whole page; the discussion at the end of the page that was there `before` stays as it is."""
    effort, suite = result["effort"], result["suite"]
    parts = [
        TITLE,
        "Written by `motive lab experiment --page`, all but the discussion at the end.",
        f"Suite {suite['version']}, the model that ships. Each of {len(effort['motions'])} motions is wanted in turn: its "
        f"{suite['queries']} queries choose a tenth of the confounded pool by `preset: best`; the model is fine-tuned on it "
        f"for {effort['steps']} steps of {effort['batch']} clips, with {len(effort['seeds'])} seeds, and generates from "
        f"{effort['prompts']} prompts. Captions and prompts name looks alone, so a video moves as the clips have taught it. "
        "Right is a video whose motion, by the lab's judge, is the wanted one. Loss is the change of the queries' "
        "motion-weighted loss, in percent of the base model's. Intervals of 95 %, over prompts and trainings, for these "
        "motions. For an embedding the model's own VAE stands in, since no video encoder ships.",
        markdown(
            [
                "trained on",
                "right",
                "Motive less it",
                "p",
                "loss, %",
                "Motive less it",
                "wanted clips in it",
                "Motive's clips in it",
                "dynamic degree (DIS)",
            ],
            [_row(arm, result) for arm in (*SHARED, *OWN)],
        ),
        "## Less a random tenth",
        markdown(
            ["trained on", "right, less that of a random tenth", "p"],
            [[TITLES[arm], _difference(found), _chance(found)] for arm, found in result["less random"].items()],
        ),
        "## By motion",
        markdown(
            ["wanted", *(TITLES[arm] for arm in (*SHARED, *OWN))],
            [
                [motion, *(_figure(result["arms"][arm]["by motion"][motion]) for arm in (*SHARED, *OWN))]
                for motion in effort["motions"]
            ],
        ),
        "## What is seen",
        "Share of each arm's videos in which the judge sees a motion, a still scene or a moving camera.",
        _seen(result),
    ]
    if before and not before.startswith(TITLE):
        raise ConfigError(f"the page does not begin with {TITLE!r}: another one is not overwritten")
    _, heading, discussion = before.partition(DISCUSSION)
    if heading:
        parts.append(heading + discussion.rstrip())
    return "\n\n".join(parts) + "\n"


def _row(arm: str, result: dict[str, Any]) -> list[str]:
    found, against = result["arms"][arm], result["motive less"].get(arm)
    right = found["right"]
    kept, common = (result[share].get(arm) for share in ("kept", "common"))
    return [
        TITLES[arm],
        _figure(right),
        "" if against is None else _difference(against),
        "" if against is None else _chance(against),
        "" if arm == "base" else _percent(found["loss"]),
        "" if against is None else _percent(result["loss, motive less"][arm]["difference"]),
        "" if kept is None else f"{kept:.2f}",
        "" if common is None else f"{common:.2f}",
        _figure(found["dynamic_degree_dis"]),
    ]


def _difference(compared: dict[str, Any]) -> str:
    return _figure(compared["difference"], "+.2f")


def _chance(compared: dict[str, Any]) -> str:
    return f"{compared['p']:.3f}" if compared["p"] >= 0.001 else "< 0.001"


def _percent(found: dict[str, Any]) -> str:
    return _figure(found, "+.1f")


def _figure(found: dict[str, Any], form: str = ".2f") -> str:
    """A mean and its interval; a single value has none."""
    mean, low, high = (found[key] for key in ("mean", "low", "high"))
    return f"{mean:{form}}" + ("" if low is None else f" [{low:{form}}, {high:{form}}]")


def _seen(result: dict[str, Any]) -> str:
    arms = (*SHARED, *OWN)
    every = sorted({motion for arm in arms for motion in result["arms"][arm]["seen"]})
    rows = [[motion, *(f"{result['arms'][arm]['seen'].get(motion, 0):.2f}" for arm in arms)] for motion in every]
    return markdown(["seen", *(TITLES[arm] for arm in arms)], rows)
