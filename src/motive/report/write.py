"""A run as pages: one folder that opens from disk, without a network.

report/
  index.html              the page
  data/*.js               what it shows, loaded as it is needed
  media/<name>.mp4        videos of the clips that are shown as such, with .jpg and, for the mask, .png
"""

from pathlib import Path

from motive.attribution.prepare import fetch_limits
from motive.config import Config
from motive.files import write_atomic
from motive.progress import Progress, Silent
from motive.report.arms import read_arms
from motive.report.choice import all_ends, films_of_clips, latent_frames
from motive.report.clips import put_query, put_table
from motive.report.data import DataFolder
from motive.report.films import make_films
from motive.report.page import page
from motive.report.standing import read_standing
from motive.report.summary import summarise


def write_report(config: Config, progress: Progress | None = None) -> Path:
    """Write the report of a run into report/ of its folder, and return its index.html. What a run has not made yet is left
    out, with the command that makes it; videos that an earlier report made are kept.

    Raises StoreError if the run has no scores.
    """
    folder = config.out / "report"
    standing = read_standing(config)
    found = all_ends(standing)
    films, arms = films_of_clips(standing, found), read_arms(config)
    wanted = list({film.name: film for film in [*films.values(), *arms.films]}.values())
    failed = make_films(
        wanted, folder / "media", config.report.height, config.engine, fetch_limits(config), progress or Silent()
    )
    names = {key: film.name for key, film in films.items()}
    masks = {"latents": latent_frames(films.values()), "masked": sorted(file.stem for file in (folder / "media").glob("*.png"))}
    data = DataFolder(folder / "data")
    for query, own in enumerate(found):
        put_query(data, standing, query, own, names)
    listed = put_table(data, standing, names)
    data.put("arms", arms.value)
    data.put("run", summarise(standing, names, arms.missing) | {"table": listed, "failed": failed} | masks)
    data.finish()
    index = folder / "index.html"
    write_atomic(index, page().encode())
    return index
