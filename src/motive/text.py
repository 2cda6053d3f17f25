"""Text from outside (captions, ids, paths, FFmpeg's messages) made safe to show."""


def printable(text: object) -> str:
    """One line with nothing in it that a terminal obeys: every character that does not print becomes a space."""
    return "".join(character if character.isprintable() else " " for character in str(text))
