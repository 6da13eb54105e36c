"""Translate the library's messages into the shell's words."""

from __future__ import annotations

import re

#: Options of the shell by the library's argument.
FLAGS = {
    "target_names": "--names",
    "top_targets": "--top-targets",
    "targets": "--targets",
    "threshold": "--threshold",
    "layer": "--layer",
    "layers": "--layer",
    "method": "--method",
    "methods": "--method",
    "output": "--output",
    "input": "--input",
    "logits": "--logits",
    "check": "--check",
    "preprocess": "--preprocess",
    "region": "--region",
    "style": "--style",
    "colormap": "--colormap",
    "alpha_limit": "--alpha",
    "caption": "--caption",
    "column": "--column",
    "key": "--key",
    "workers": "--workers",
    "timeout": "--timeout",
    "out": "--out",
}
_ANY = "|".join(FLAGS)
# These aren't English words, so they always mean the argument.
_CERTAIN = "target_names|top_targets|alpha_limit"


def _flag(match: re.Match[str]) -> str:
    return FLAGS[match[1]]


_RULES = (
    (r"leave (\w+)=None", lambda match: f"leave {FLAGS.get(match[1], match[1])} out"),
    (r"preprocess=False", lambda _: "--preprocess none"),
    (r"caption=False", lambda _: "--no-caption"),
    (r"the signed map is in \.attribution", lambda _: "--style signed draws it"),
    # A function in a module has a name in the shell; any other must be put into a module.
    (r"preprocess=((?:\w+\.)*\w+)\.(\w+)", lambda match: f"--preprocess {match[1]}:{match[2]}"),
    (r"preprocess=(?=lambda)", lambda _: "--preprocess MODULE:FUNCTION, the function being "),
    (rf"\b({_ANY})=True\b", _flag),
    (rf"\b({_ANY})=\[\.\.\.\]", lambda match: f"{FLAGS[match[1]]} several times"),
    (rf"\b({_ANY})=(?=[\w'\"\[(])", lambda match: f"{FLAGS[match[1]]} "),
    (rf"\b({_ANY})=", _flag),
    (rf"\beither ({_ANY}) or\b", lambda match: f"either {FLAGS[match[1]]} or"),
    (rf"(?:^|(?<=: ))({_ANY})(?= must\b| index must\b| '| is\b)", _flag),
    (rf"^({_ANY})(?=: )", _flag),
    (rf"\b({_CERTAIN})\b", _flag),
)


def in_shell_words(text: str) -> str:
    """Replace the library's arguments by the options that stand for them.

    Parameters
    ----------
    text : str
        A message of the library.

    Returns
    -------
    str

    Examples
    --------
    >>> in_shell_words("targets must hold classes (int) and names from target_names (str).")
    '--targets must hold classes (int) and names from --names (str).'
    >>> in_shell_words("Pass logits=True, or preprocess=keras.applications.resnet.preprocess_input")
    'Pass --logits, or --preprocess keras.applications.resnet:preprocess_input'
    >>> in_shell_words("out: 'results' holds explanations of another model.")
    "--out: 'results' holds explanations of another model."
    """
    for pattern, replacement in _RULES:
        text = re.sub(pattern, replacement, text)
    return text
