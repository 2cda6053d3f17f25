"""The errors a user can meet. Each message says what was wrong, where, and what to do."""


class MotiveError(Exception):
    """Something the user can put right; the command line prints it without a traceback."""


class ConfigError(MotiveError):
    """A setting is unknown, of the wrong kind, or does not fit the others."""


class ManifestError(MotiveError):
    """A manifest as a whole cannot be read (a bad row only fails that row's clip)."""


class ModelError(MotiveError):
    """A model folder is missing, incomplete, or of a family without an adapter."""


class StoreError(MotiveError):
    """A store on disk was made with other settings, or is damaged."""


class EngineError(MotiveError):
    """The processes that do the work cannot be started."""


class ClipError(MotiveError):
    """One clip cannot be used. It is recorded with this reason and the run goes on."""


class LeftOutError(ClipError):
    """A clip that could be used and that an option leaves out."""


class StudyError(MotiveError):
    """The samples, the votes or the folder of a human study do not fit together."""


class EvaluationError(MotiveError):
    """Generated videos cannot be measured, or another program's results are not what they should be."""
