"""Motive without its motion mask: the same run with the plain loss, in nomask/ of the run, from the same prepared inputs."""

from motive import verbs
from motive.attribution.scores import load_scores
from motive.baselines.choice import Choice, Run
from motive.config import Config, parse_config


def nomask(run: Run) -> Choice:
    """What Motive keeps with gradients.weighting=uniform; nothing else is different. A complete run, which goes on from where
    it stopped."""
    config = without_mask(run.config)
    verbs.index(config, run.progress, prepared_in=run.config.out)
    verbs.score(config)
    chosen = verbs.select(config)
    kept = chosen.kept
    return Choice(load_scores(config.out / "scores.parquet"), kept, chosen.mean[kept], chosen.votes[kept])


def without_mask(config: Config) -> Config:
    """The same run with uniform weights, in a folder and with stores of its own."""
    tree = config.model_dump(mode="json")
    tree["out"] = str(config.out / "nomask")
    tree["gradients"]["weighting"] = "uniform"
    for stage in tree["cascade"]:
        stage["gradients"].pop("weighting", None)
    at = config.store.at
    tree["store"]["at"] = at and f"{at.rstrip('/')}/nomask"
    tree["influence"]["snapshot"] = None
    return parse_config(tree, "the run without mask")
