"""Pictures are written beside what is there, never over it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.colours import paint
from tests.cli.shell import run

pytestmark = pytest.mark.once


class TestFiles:
    def test_same_names_do_not_collide(self, colours, here):
        for folder in ("a", "b", "c"):
            Path(folder).mkdir()
            paint("red").save(f"{folder}/x.png")
        paint("blue").save("c/X.jpg")
        images = ["a/x.png", "b/x.png", "c/x.png", "c/X.jpg"]
        assert run("explain", colours, *images, "--out", "out") == 0
        assert {p.name for p in Path("out").iterdir()} == {"x.png", "x-2.png", "x-3.png", "X-4.png"}

    def test_inputs_are_not_overwritten(self, colours, here):
        paint("green").save("red-2.png")
        before = {path: path.read_bytes() for path in here.iterdir()}
        assert run("explain", colours, "red.png", here / "blue.png", "red-2.png") == 0
        assert {path: path.read_bytes() for path in before} == before
        new = {path.name for path in here.iterdir()} - {path.name for path in before}
        assert new == {"red-3.png", "blue-2.png", "red-2-2.png"}

    def test_an_input_made_by_eli5k_is_not_overwritten_either(self, colours, here):
        run("explain", colours, "red.png", "--out", "out")
        before = Path("out/red.png").read_bytes()
        assert run("explain", colours, "out/red.png", "--out", "out") == 0
        assert Path("out/red.png").read_bytes() == before

    def test_only_our_own_files_are_replaced(self, colours, here):
        Path("out").mkdir()
        Path("out/blue.png").write_text("notes")
        for _ in range(2):
            assert run("explain", colours, "red.png", "blue.png", "--out", "out") == 0
        assert {path.name for path in Path("out").iterdir()} == {
            "red.png",
            "blue.png",
            "blue-2.png",
        }
        assert Path("out/blue.png").read_text() == "notes"

    def test_a_link_that_leads_nowhere_is_left_alone(self, colours, here):
        Path("out").mkdir()
        Path("out/red.png").symlink_to("nowhere")
        assert run("explain", colours, "red.png", "--out", "out") == 0
        assert Path("out/red.png").is_symlink()
        assert {path.name for path in Path("out").iterdir()} == {"red.png", "red-2.png"}

    @pytest.mark.parametrize("ending", ["png", "jpg", "webp", "pdf", "html", "json", "csv"])
    def test_each_format_is_known_again_and_no_other_file_is(self, ending, colours, here, capsys):
        name = "explanations.csv" if ending == "csv" else f"red.{ending}"
        for _ in range(2):
            assert run("explain", colours, "red.png", "--out", "out", "--format", ending) == 0
        assert {path.name for path in Path("out").iterdir()} == {name}
        Path(f"out/{name}").write_bytes(b"notes of mine")
        assert run("explain", colours, "red.png", "--out", f"out/{name}") == 2
        assert "eli5k didn't write" in capsys.readouterr().err
        assert Path(f"out/{name}").read_bytes() == b"notes of mine"

    def test_pictures_in_a_folder_that_eli5k_drew_are_passed_over(self, colours, here, capsys):
        for _ in range(2):
            assert run("explain", colours, ".", "--format", "png") == 0
            assert "2 of 2 pictures" in capsys.readouterr().out
        assert {path.name for path in here.iterdir()} == {
            "red.png",
            "blue.png",
            "red-2.png",
            "blue-2.png",
        }


class TestFullDisk:
    @pytest.mark.parametrize("name", ["out.png", "out.html", "out.json", "out.csv", "out.pdf"])
    def test_one_line_and_no_half_file(self, name, colours, here, capsys):
        """A file that may not grow stands for a disk that is full."""
        resource = pytest.importorskip("resource")
        before = sorted(here.rglob("*"))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30, limits[1]))
        try:
            status = run("explain", colours, "red.png", "--out", name)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert status == 2
        assert capsys.readouterr().err == f"eli5k: {name}: File too large\n"
        assert sorted(here.rglob("*")) == before

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    @pytest.mark.parametrize("size", [1, 100_000])
    def test_standard_output(self, size):
        """It may fail when a line is printed, or when all is flushed at the end."""
        code = (
            "import eli5k.cli as cli, sys;"
            f"cli.methods.add_to = lambda c: c.add_parser('methods').set_defaults("
            f"command=lambda _: cli.methods.say('x' * {size}) or 0);"
            "sys.exit(cli.main(['methods']))"
        )
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-c", code], check=False, stdout=full, stderr=subprocess.PIPE
            )
        assert done.returncode == 2
        assert done.stderr == b"eli5k: standard output: No space left on device\n"
