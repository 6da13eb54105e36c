"""``eli5k demo``: explain the model that comes with the package on its sample pictures."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from typing import TYPE_CHECKING

from eli5k.cli.backend import import_library
from eli5k.cli.output_folder import make_output_folder
from eli5k.cli.picture import explain_picture, report
from eli5k.options import Options

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its arguments."""
    parser = commands.add_parser("demo", help="explain a small trained model on sample pictures")
    parser.add_argument(
        "--out",
        default="eli5k-demo",
        metavar="DIR",
        help="folder for the heatmaps (default: %(default)s)",
    )
    parser.set_defaults(command=show_demo)


def show_demo(arguments: argparse.Namespace) -> int:
    """Explain both digits of each sample, and print a command that explains the first one."""
    started = time.perf_counter()
    import_library()
    from eli5k.demo.samples import MODEL, load_model, load_samples

    model = load_model()
    samples = load_samples(digits=2)
    out = make_output_folder(arguments.out)
    print("A classifier of one digit looks at pictures of two: where does it see each?\n")
    for sample in samples:
        options = Options(targets=list(sample.labels), logits=True)
        report(sample.path, explain_picture(model, sample.path, options), out)
    print(f"{len(samples)} pictures in {time.perf_counter() - started:.1f} s. The first one again:")
    program = [sys.executable, "-m", "eli5k", "explain", str(MODEL), str(samples[0].path)]
    print(shlex.join([*program, "--logits", "--targets", *map(str, samples[0].labels)]))
    return 0
