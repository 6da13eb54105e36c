"""Translate the tokens of a text into words."""

from __future__ import annotations

import numpy as np

from eli5k.class_names import names_by_index
from eli5k.options import TokenNames


def words_of(tokens: np.ndarray, names: TokenNames) -> list[str]:
    """Return the word of each token.

    Parameters
    ----------
    tokens : numpy.ndarray
        ``(length,)``: numbers of the tokens.
    names : sequence of str, mapping, path, callable or None
        Words by index, such as ``TextVectorization.get_vocabulary()``, or a file of them;
        ``{index: word}`` or ``{word: index}``; or a function such as ``tokenizer.id_to_token``.
        None has no words.

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
    known = names_by_index(names, "token_names")
    return [str(known.get(number, number)) for number in numbers]
