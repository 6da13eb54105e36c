"""Translate the tokens of a text into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eli5k.options import TokenNames


def words_of(tokens: np.ndarray, names: TokenNames) -> list[str]:
    """Return the word of each token.

    Parameters
    ----------
    tokens : numpy.ndarray
        ``(length,)``: numbers of the tokens.
    names : sequence of str, mapping, callable or None
        Words by index, such as ``TextVectorization.get_vocabulary()``; ``{index: word}`` or
        ``{word: index}``; or a function such as ``tokenizer.id_to_token``. None has no words.

    Returns
    -------
    list of str
        A token without a word is shown as its number.

    Raises
    ------
    TypeError
        If ``names`` is none of these.

    Examples
    --------
    >>> words_of(np.array([2, 0, 7]), ["the", "end", "dog"])
    ['dog', 'the', '7']
    >>> words_of(np.array([2, 0]), {"the": 0, "dog": 2})
    ['dog', 'the']
    """
    numbers = [int(number) for number in np.ravel(tokens)]
    if names is None:
        return list(map(str, numbers))
    if callable(names):
        return [str(names(number)) for number in numbers]
    if isinstance(names, Mapping):
        known = {int(i): str(word) for word, i in names.items() if not isinstance(i, str)}
        known |= {int(i): str(word) for i, word in names.items() if isinstance(word, str)}
    elif isinstance(names, Sequence | np.ndarray) and not isinstance(names, str):
        known = dict(enumerate(map(str, names)))
    else:
        raise TypeError(
            "token_names must be a list of words, a dict of index to word or of word to index, or "
            f"a callable from index to word. Received: {names!r}"
        )
    return [known.get(number, str(number)) for number in numbers]
