"""Text from outside (captions, ids, paths, FFmpeg's messages) made safe to show."""


def printable(text: object) -> str:
    """One line with nothing in it that a terminal obeys: every character that does not print becomes a space."""
    return "".join(character if character.isprintable() else " " for character in str(text))


def markdown_text(text: object) -> str:
    """Text from outside that neither a terminal nor a renderer of Markdown takes for anything else."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{character}" if character in r"\`*_[]|#!" else character for character in plain)
