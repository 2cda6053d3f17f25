"""What of a configuration is the report's."""

from pydantic import Field

from motive.section import Section


class ReportSection(Section):
    """The pages of `motive report`. Nothing else depends on it."""

    clips: int = Field(12, ge=1, le=100)
    """The best clips that a query's page shows, and likewise the worst."""
    videos: int = Field(600, ge=0, le=100_000)
    """Videos of clips at most, the most telling first; of generated samples likewise."""
    height: int = Field(240, ge=32, le=2160)
    """Pixels that they are tall."""
