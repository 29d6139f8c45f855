"""The one exception for what the user can mend."""


class UserError(ValueError):
    """A mistake in the input or the request. The message says what is wrong and how to mend it; the exit code is 2."""


def nearest(word: str, known: list[str]) -> str:
    """A hint for a misspelt word: " Did you mean 'width'?", or the empty string."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
