"""Pictures are written beside what is there, never over it."""

from __future__ import annotations

from pathlib import Path

from tests.cli.colours import paint
from tests.cli.shell import run


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
