"""The page in a real browser: its pixels against arithmetic, its values against the arrays."""

import matplotlib
import numpy as np
import pytest
from PIL import Image

import eli5k
from eli5k.base import WHOLE, BlankMapWarning, Check, Explanation, TargetExplanation
from eli5k.formatters import format_as_page
from eli5k.formatters.frame import spread
from eli5k.formatters.styles import AGAINST, FOR
from tests.formatters.test_frame import spot
from tests.formatters.test_html import decode
from tests.formatters.test_sheet import picture

SIZE = (240, 160)
EVIL = "</script><img src=x onerror=alert(1)>\"'&amp;<b>"


def explain(*heatmaps, image=None, frame=WHOLE, names=("cat", "dog", "cow"), **kwargs):
    targets = [
        TargetExplanation(name, score=2.5, proba=0.75, heatmap=each, attribution=4 * each)
        for name, each in zip(names, heatmaps)
    ]
    image = picture(*SIZE) if image is None else image
    kwargs = {"method": "Grad-CAM", "layer": "conv", **kwargs}
    return Explanation("net", targets=targets, image=image, frame=frame, **kwargs)


def random_map(*shape):
    heatmap = np.random.default_rng(3).random(shape)
    return (heatmap - heatmap.min()) / np.ptp(heatmap)


def pixels(page, selector=".stage canvas", root="document"):
    """The pixels of a canvas, after the frame that is being drawn."""
    source = page.evaluate(
        f"""async (selector) => {{
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            return {root}.querySelector(selector).toDataURL();
        }}""",
        selector,
    )
    return np.asarray(decode(source).convert("RGBA")).astype(int)


def expected(expl, limit=0.65, colormap="viridis", number=0):
    """What the page must show: the map enlarged, then coloured, then laid over the photograph."""
    heatmap = expl.targets[number].heatmap
    size = expl.image.size
    cells = Image.fromarray(heatmap.astype(np.float32))
    cover = np.asarray(spread(Image.fromarray(np.ones_like(heatmap, np.float32)), size, expl.frame))
    # At the rim the value itself is not fainter, only what is seen of it.
    heat = np.clip(np.asarray(spread(cells, size, expl.frame)) / np.maximum(cover, 1e-9), 0, 1)
    colours = matplotlib.colormaps[colormap](heat)[..., :3] * 255
    alpha = (np.minimum(heat, limit) * cover)[..., np.newaxis]
    base = np.asarray(expl.image.convert("RGB"))
    return alpha * colours + (1 - alpha) * base


def slide(page, name, value):
    page.locator(f"input[name={name}]").fill(str(value))


def reading(page):
    return page.locator(".reading").inner_text()


@pytest.mark.parametrize(
    "frame", [WHOLE, (0.25, 0.5, 0.75, 1.0), (-0.3, -0.2, 1.4, 1.1), (0.101, 0.203, 0.777, 0.897)]
)
def test_the_heat_has_the_right_pixels(visit, frame):
    expl = explain(random_map(5, 7), frame=frame)
    shown = pixels(visit(format_as_page(expl)))
    # Maps travel as one of 256 levels, and the colours have as many.
    assert abs(shown[..., :3] - expected(expl)).max() <= 5
    assert (shown[..., 3] == 255).all()


def test_a_map_that_is_finer_than_the_picture_is_averaged(visit):
    expl = explain(random_map(300, 500))
    page = visit(format_as_page(expl))
    # Only over a dark photograph are such maps seen well: that is what the page begins with.
    assert pixels(page)[..., :3].mean() < 0.8 * np.asarray(expl.image).mean()
    page.select_option("[name=photograph]", "full")
    assert abs(pixels(page)[..., :3] - expected(expl)).max() <= 5


def test_a_small_picture_is_enlarged_by_a_whole_factor(visit):
    expl = explain(np.zeros((2, 2)), image=picture(28, 20))
    shown = pixels(visit(format_as_page(expl)))
    enlarged = np.kron(np.asarray(expl.image), np.ones((8, 8, 1)))
    np.testing.assert_array_equal(shown[..., :3], enlarged)


def test_a_transparent_picture_shows_the_heat_alone(visit):
    clear = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    shown = pixels(visit(format_as_page(explain(np.ones((1, 1)), image=clear), alpha_limit=0.5)))
    assert abs(shown[..., 3] - 127).max() <= 1


def test_the_sliders_and_menus_change_the_right_pixels(visit):
    expl = explain(random_map(5, 7))
    page = visit(format_as_page(expl))
    slide(page, "opacity", 30)
    assert abs(pixels(page)[..., :3] - expected(expl, limit=0.3)).max() <= 5
    assert page.locator("[name=opacityShown]").inner_text() == "30 %"
    slide(page, "opacity", 0)
    np.testing.assert_array_equal(pixels(page)[..., :3], np.asarray(expl.image))
    slide(page, "opacity", 100)
    page.select_option("[name=colours]", "cividis")
    assert abs(pixels(page)[..., :3] - expected(expl, 1, "cividis")).max() <= 5
    page.select_option("[name=photograph]", "dark")
    slide(page, "opacity", 0)
    dark = 0.4 * np.asarray(expl.image.convert("L"))[..., np.newaxis]
    assert abs(pixels(page)[..., :3] - dark).max() <= 1.5


@pytest.mark.parametrize("percent", [1, 10, 50, 90])
def test_only_the_hottest_part_is_shown(visit, percent):
    ramp = np.tile(np.linspace(0, 1, 24), (2, 1))
    expl = explain(ramp, image=Image.new("RGB", SIZE, (10, 200, 10)))
    page = visit(format_as_page(expl, alpha_limit=None))
    slide(page, "hottest", percent)
    changed = (pixels(page)[..., :3] != (10, 200, 10)).any(-1)
    # Beyond the centre of the last cell all pixels are equally hot.
    assert changed.mean() == pytest.approx(percent / 100, abs=0.5 / 24)
    assert changed[:, -1].all()
    assert not changed[:, 0].any()


def test_one_list_has_all_maps_of_a_picture_and_only_these(visit):
    both = explain(spot((2, 2), (0, 0)), spot((2, 2), (1, 1)))
    other = explain(spot((2, 2), (0, 1)), method="LayerCAM", layer="early")
    page = visit(format_as_page([both, other]))
    names = page.locator(".choice option").all_inner_texts()
    assert names == [
        "y=cat: Grad-CAM, layer conv",
        "y=dog: Grad-CAM, layer conv",
        "y=cat: LayerCAM, layer early",
    ]
    page.select_option(".choice select", "1")
    page.wait_for_selector("[data-shown='1']")
    assert abs(pixels(page)[..., :3] - expected(both, number=1)).max() <= 5
    assert page.locator(".said").inner_text().startswith("y=dog: score 2.5, probability 0.75; hot")
    label = page.locator(".stage canvas").get_attribute("aria-label")
    assert label == f"Heatmap for {page.locator('.said').inner_text()}"


def test_each_input_has_its_own_photograph_and_frame(visit):
    expl = explain(random_map(3, 3), input="left")
    expl.others = [
        explain(random_map(3, 3), image=picture(200, 230), input="right", frame=(0.5, 0, 1, 1))
    ]
    page = visit(format_as_page(expl))
    page.select_option(".choice select", label="y=cat in input right: Grad-CAM, layer conv")
    page.wait_for_selector("[data-shown='1']")
    assert abs(pixels(page)[..., :3] - expected(expl.others[0])).max() <= 5


def test_the_original_is_put_beside_it(visit):
    expl = explain(random_map(3, 3))
    page = visit(format_as_page(expl))
    page.get_by_label("Original beside it").check()
    np.testing.assert_array_equal(pixels(page, ".original")[..., :3], np.asarray(expl.image))
    heat, original = (page.locator(each).bounding_box() for each in (".stage", ".original"))
    assert heat["x"] + heat["width"] <= original["x"]
    assert heat["y"] == original["y"]
    page.get_by_label("Original beside it").uncheck()
    page.wait_for_selector(".original", state="detached")


@pytest.mark.parametrize("frame", [WHOLE, (0.5, 0.25, 1.0, 0.75)])
def test_the_value_under_the_pointer_is_the_arrays(visit, frame):
    heatmap = random_map(4, 6)
    page = visit(format_as_page(explain(heatmap, frame=frame)))
    box = page.locator(".stage canvas").bounding_box()
    for row, column in [(0, 0), (3, 5), (2, 1)]:
        across = frame[0] + (frame[2] - frame[0]) * (column + 0.5) / 6
        down = frame[1] + (frame[3] - frame[1]) * (row + 0.5) / 4
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
        place, value = reading(page).split(": ")
        assert place == f"row {row + 1}, column {column + 1}"
        heat, raw = value.rstrip(")").split(" (raw ")
        assert float(heat) == pytest.approx(heatmap[row, column], abs=1 / 255)
        assert float(raw) == pytest.approx(4 * heatmap[row, column], abs=4 / 255)
        cell = page.locator(".cell").bounding_box()
        assert cell["x"] + cell["width"] / 2 == pytest.approx(
            box["x"] + across * box["width"], abs=1
        )
    if frame != WHOLE:
        page.mouse.move(box["x"] + 5, box["y"] + 5)
        assert reading(page) == "outside the map"


def test_a_touch_reads_a_cell(visit):
    page = visit(format_as_page(explain(spot((2, 2), (1, 1)))), has_touch=True)
    box = page.locator(".stage canvas").bounding_box()
    page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"])
    assert reading(page) == "row 2, column 2: 1.000 (raw 4)"


def test_keys_do_what_the_page_says(visit):
    heatmap = spot((4, 6), (3, 1))
    page = visit(
        format_as_page([explain(heatmap, spot((4, 6), (0, 0))), explain(heatmap, source="b")])
    )
    page.keyboard.press("j")
    page.keyboard.press("h")
    assert reading(page.locator(".card").first) == "row 4, column 2: 1.000 (raw 4)"
    for key, place in [
        ("ArrowUp", "row 3, column 2"),
        ("ArrowRight", "row 3, column 3"),
        ("ArrowDown", "row 4, column 3"),
        ("ArrowDown", "row 4, column 3"),
        ("ArrowLeft", "row 4, column 2"),
    ]:
        page.keyboard.press(key)
        assert reading(page.locator(".card").first).startswith(place)
    page.keyboard.press("]")
    page.wait_for_selector("[data-shown='1']")
    page.keyboard.press("[")
    page.wait_for_selector(".card:first-child[data-shown='0']")
    page.keyboard.press("o")
    page.wait_for_selector(".original")
    page.keyboard.press("j")
    assert (
        page.evaluate("document.activeElement.closest('.card').querySelector('h2').textContent")
        == "b"
    )
    page.keyboard.press("/")
    page.keyboard.type("hjo[")
    assert page.locator("#search").input_value() == "hjo["


def test_a_reader_reaches_everything_with_the_tab_key(visit):
    page = visit(format_as_page([explain(random_map(2, 2)), explain(random_map(2, 2), source="b")]))
    names = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        names.add(page.evaluate("document.activeElement.name || document.activeElement.tagName"))
    assert names >= {"opacity", "hottest", "colours", "photograph", "boxes", "original", "CANVAS"}


def test_each_control_has_a_name_for_a_screen_reader(visit):
    page = visit(format_as_page([explain(random_map(2, 2)), explain(random_map(2, 2), source="b")]))
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, select, canvas")].filter((element) =>
            !(element.labels?.[0]?.textContent.trim() || element.getAttribute("aria-label")))
            .map((element) => element.outerHTML)"""
    )
    assert nameless == []
    assert page.locator("[aria-live=polite].reading").count() == 2
    assert page.evaluate("document.documentElement.lang") == "en"


def test_boxes_stand_around_the_hot_regions(visit):
    page = visit(format_as_page(explain(spot((2, 2), (1, 1)), frame=(0.5, 0, 1, 1))))
    page.get_by_label("Boxes").check()
    stage = page.locator(".stage").bounding_box()
    box = page.locator(".box").bounding_box()
    assert box["x"] == pytest.approx(stage["x"] + 0.75 * stage["width"], abs=1)
    assert box["y"] == pytest.approx(stage["y"] + 0.5 * stage["height"], abs=1)
    assert box["width"] == pytest.approx(0.25 * stage["width"], abs=1)


def test_names_stay_text_and_nothing_acts(visit):
    expl = explain(np.eye(2), names=[EVIL], method=EVIL, layer=EVIL, input=EVIL, source=f"/{EVIL}")
    expl.description = expl.output = expl.estimator = EVIL
    expl.warnings = [BlankMapWarning(EVIL)]
    broken = Explanation(EVIL, error=EVIL, source="b")
    page = visit(format_as_page([expl, broken], title=EVIL))
    assert page.title() == EVIL
    assert page.locator("h1").inner_text() == EVIL
    assert EVIL in page.locator(".choice option").inner_text()
    assert page.locator("main").inner_text().count("onerror=alert(1)") >= 6
    assert page.locator("main img, b, main script:not([type])").count() == 0


def test_the_page_may_not_ask_anybody(visit):
    page = visit(format_as_page(explain(np.eye(2))))
    refused = page.evaluate(
        """() => new Promise((done) => {
            document.addEventListener("securitypolicyviolation", (event) =>
                done([event.effectiveDirective, document.styleSheets.length]));
            const script = document.createElement("script");
            script.textContent = "document.title = 'acted'";
            document.body.append(script);
        })"""
    )
    assert refused == ["script-src-elem", 1]
    [told] = visit.troubles
    assert "violates the following Content Security Policy" in told
    visit.troubles.clear()
    assert page.title() != "acted"


def test_a_gallery_draws_what_is_near_the_screen(visit):
    expls = [explain(random_map(3, 3), source=f"{number:03}.jpg") for number in range(60)]
    page = visit(format_as_page(expls))
    page.wait_for_timeout(300)
    drawn = page.locator("[data-shown]").count()
    assert 3 <= drawn <= 20
    page.locator(".card").last.scroll_into_view_if_needed()
    page.wait_for_selector(".card:last-child[data-shown]")
    assert abs(pixels(page, ".card:last-child canvas")[..., :3] - expected(expls[-1])).max() <= 5
    # What has left the screen gave its pixels back, and gets them again.
    assert pixels(page, ".card:first-child canvas").max() == 0
    page.locator(".card").first.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    assert abs(pixels(page, ".card:first-child canvas")[..., :3] - expected(expls[0])).max() <= 5


def test_a_search_finds_names_classes_and_methods(visit):
    expls = [
        explain(np.eye(2), source="Tom.jpg"),
        explain(np.eye(2), source="rex.jpg", names=["golden retriever"], method="RISE"),
    ]
    page = visit(format_as_page(expls))
    for words, found in [("TOM", [0]), ("retriever rise", [1]), ("jpg", [0, 1]), ("cow", [])]:
        page.locator("#search").fill(words)
        hidden = page.evaluate("[...document.querySelectorAll('.card')].map((card) => card.hidden)")
        assert [number for number in (0, 1) if not hidden[number]] == found
        assert page.locator("#found").inner_text() == f"{len(found)} of 2 pictures"


def test_a_page_of_one_picture_needs_no_search(visit):
    assert not visit(format_as_page(explain(np.eye(2)))).locator("#search").is_visible()


@pytest.mark.parametrize("width", [390, 320, 1280])
def test_nothing_is_wider_than_the_screen(visit, width):
    long = "a" * 300
    expl = explain(np.eye(2), names=[long], layer=long, source=long, image=picture(900, 300))
    expl.warnings = [BlankMapWarning(long)]
    expl.description = long
    page = visit(format_as_page([expl, explain(np.eye(2))], title=long), width=width)
    page.get_by_text("Display").click() if width < 640 else None
    page.get_by_text("Keys", exact=True).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(visit, scheme):
    expl = explain(np.eye(2), description="How it was done.")
    expl.warnings = [BlankMapWarning("The map is blank.")]
    page = visit(format_as_page([expl, Explanation("net", error="not supported")]), scheme=scheme)
    pairs = page.evaluate(
        """() => [...document.querySelectorAll("h1, h2, p, output, label, summary, select")]
            .filter((element) => element.checkVisibility()).map((element) => {
            let ground = element;
            while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") {
                ground = ground.parentElement;
            }
            return [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor];
        })"""
    )
    assert len(pairs) > 10
    assert min(contrast(*pair) for pair in pairs) >= 4.5
    [page_colour] = {
        ground
        for _, ground in pairs
        if ground in page.evaluate("[getComputedStyle(document.body).backgroundColor]")
    }
    assert (luminance(page_colour) > 0.5) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(visit, scheme):
    from axe_playwright_python.sync_playwright import Axe

    expls = [explain(np.eye(3)), explain(np.eye(3), source="b"), Explanation("net", error="none")]
    page = visit(format_as_page(expls), width=390, scheme=scheme, bypass_csp=True)
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


def luminance(colour):
    """Relative luminance, as the Web Content Accessibility Guidelines define it."""
    numbers = np.array([float(each) for each in colour[colour.index("(") + 1 : -1].split(",")[:3]])
    numbers = numbers / 255
    linear = np.where(numbers <= 0.04045, numbers / 12.92, ((numbers + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_what_cannot_be_drawn_is_told_in_words(visit):
    signal = explain(np.array([0.0, 1.0]), source="signal")
    nothing = Explanation("net", targets=[TargetExplanation("cat", score=1.0)], source="nothing")
    failed = Explanation("net", error="not supported", source="failed")
    page = visit(format_as_page([signal, nothing, failed]))
    told = page.locator("main").inner_text()
    assert "hottest at 75% of the axis" in told
    assert "there is no map" in told
    assert told.count("Error: not supported") == 1
    assert page.locator("canvas").count() == 0


# What covering a region would cost


def checked(**kwargs):
    """A map whose check found the right half of the picture to be worth 6, the left half 2."""
    worth = np.array([[1.0, 3.0], [1.0, 3.0]], "float32")
    check = Check("supported", "It is right.", worth=worth, score=9.0, runs=64)
    expl = explain(np.eye(4), **kwargs)
    expl.targets = [TargetExplanation("cat", heatmap=np.eye(4), check=check)]
    return expl


@pytest.mark.parametrize(
    ("start", "end", "loss"),
    [((0.5, 0.0), (1.0, 1.0), 6), ((0.75, 0.9), (0.25, 0.1), 3.2), ((0.0, 0.0), (0.5, 0.5), 1)],
)
def test_a_drag_tells_what_covering_a_region_would_cost(visit, start, end, loss):
    page = visit(format_as_page(checked()))
    box = page.locator(".stage canvas").bounding_box()
    corners = [
        (
            box["x"] + 0.002 + across * (box["width"] - 0.01),
            box["y"] + down * (box["height"] - 0.01),
        )
        for across, down in (start, end)
    ]
    page.mouse.move(*corners[0])
    page.mouse.down()
    page.mouse.move(*corners[1])
    page.mouse.up()
    words = reading(page)
    assert words.startswith("covering this region: score 9 would fall by about ")
    assert words.endswith("as estimated from 64 runs with parts of the picture blurred")
    told = float(words.split("about ")[1].split(",")[0])
    assert told == pytest.approx(loss, abs=0.05 * loss + 0.03)
    marked = page.locator(".cell").bounding_box()
    assert marked["width"] == pytest.approx(abs(end[0] - start[0]) * box["width"], abs=2)
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    assert reading(page).startswith("row 1, column 1")


def test_shift_and_arrows_cover_a_region_too(visit):
    page = visit(format_as_page(checked()))
    page.locator(".stage canvas").focus()
    page.keyboard.press("h")
    assert reading(page).startswith("row 1, column 1")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    assert "fall by about 1," in reading(page)
    page.keyboard.press("Shift+ArrowRight")
    assert "fall by about 2.5," in reading(page)


def test_covering_what_speaks_against_the_target_raises_the_score(visit):
    expl = checked()
    expl.targets[0].check.worth = np.full((2, 2), -0.5)
    page = visit(format_as_page(expl))
    page.locator(".stage canvas").focus()
    page.keyboard.press("h")
    for key in ("Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert "score 9 would rise by about 0.5," in reading(page)


def test_the_page_tells_the_checks_word(visit):
    page = visit(format_as_page(checked()))
    assert page.locator(".checked").inner_text() == "Check: supported. It is right."
    unchecked = visit(format_as_page(explain(np.eye(3))))
    assert unchecked.locator(".checked").inner_text() == ""


def test_hovering_a_cell_tells_what_it_is_worth_and_how_that_was_measured(visit):
    # The right half is worth 6 in two places of 3, so one of the 16 cells there 6 / 8.
    page = visit(format_as_page(checked()))
    box = page.locator(".stage canvas").bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"])
    assert reading(page) == (
        "row 1, column 4: 0.000; covering it would lower the score 9 by about 0.75, "
        "as estimated from 64 runs with parts of the picture blurred"
    )


# For and against


def signed(frame=WHOLE):
    raw = np.random.default_rng(5).normal(size=(5, 7))
    expl = explain(np.maximum(raw, 0) / raw.max(), frame=frame)
    expl.targets[0].attribution = raw
    return expl


def expected_signed(expl, limit=0.65):
    """Red for and blue against over the grey photograph, as the numbers say."""
    raw = expl.targets[0].attribution / abs(expl.targets[0].attribution).max()
    size = expl.image.size
    values = np.asarray(spread(Image.fromarray(raw.astype(np.float32)), size, expl.frame))
    ones = Image.fromarray(np.ones_like(raw, np.float32))
    cover = np.asarray(spread(ones, size, expl.frame))
    values = np.clip(values / np.maximum(cover, 1e-9), -1, 1)
    alpha = (limit * abs(values) * cover)[..., np.newaxis]
    colours = np.where(values[..., np.newaxis] > 0, FOR, AGAINST)
    grey = np.asarray(expl.image.convert("L"))[..., np.newaxis]
    return alpha * colours + (1 - alpha) * grey


@pytest.mark.parametrize("frame", [WHOLE, (0.25, 0.5, 0.75, 1.0)])
def test_red_is_for_and_blue_is_against(visit, frame):
    expl = signed(frame)
    page = visit(format_as_page(expl))
    page.select_option("[name=colours]", "red for, blue against")
    assert abs(pixels(page)[..., :3] - expected_signed(expl)).max() <= 5
    slide(page, "opacity", 30)
    assert abs(pixels(page)[..., :3] - expected_signed(expl, 0.3)).max() <= 5
    slide(page, "hottest", 1)
    grey = np.asarray(expl.image.convert("L"))[..., np.newaxis]
    changed = (abs(pixels(page)[..., :3] - grey) > 2).any(-1)
    assert 0 < changed.mean() < 0.02
    page.select_option("[name=colours]", "viridis")
    slide(page, "hottest", 100)
    slide(page, "opacity", 65)
    assert abs(pixels(page)[..., :3] - expected(expl)).max() <= 5


def test_the_raw_value_of_a_cell_against_is_negative(visit):
    expl = signed()
    page = visit(format_as_page(expl))
    box = page.locator(".stage canvas").bounding_box()
    raw = expl.targets[0].attribution
    row, column = map(int, np.unravel_index(raw.argmin(), raw.shape))
    across, down = (column + 0.5) / 7, (row + 0.5) / 5
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
    told = float(reading(page).split("(raw ")[1].rstrip(")"))
    assert told == pytest.approx(raw.min(), abs=abs(raw).max() / 127)


def test_a_map_without_anything_against_offers_no_such_colours(visit):
    page = visit(format_as_page(explain(random_map(3, 3))))
    assert "red for, blue against" not in page.locator("[name=colours] option").all_inner_texts()


# Very many pictures


@pytest.fixture
def many(monkeypatch, tmp_path, chromium):
    """A page whose data are in scripts beside it, and what it asked for."""
    monkeypatch.setattr("eli5k.formatters.page.MOST_CARDS", 20)
    monkeypatch.setattr("eli5k.formatters.page.CARDS_A_SHARD", 5)
    expls = [explain(random_map(3, 3), source=f"{number:03}.jpg") for number in range(60)]
    path = eli5k.save(expls, tmp_path / "why so.html")
    context = chromium.new_context(viewport={"width": 1280, "height": 700})
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url.split("/")[-1]))
    yield expls, path, page, asked
    context.close()


def test_very_many_pictures_are_read_from_scripts_beside_the_page(many):
    expls, path, page, asked = many
    shards = sorted(each.name for each in (path.parent / "why so_files").iterdir())
    assert shards == [f"{number:05}.js" for number in range(12)]
    assert path.stat().st_size < 150_000
    page.goto(path.as_uri())
    page.wait_for_selector(".card:first-child[data-shown]")
    assert abs(pixels(page, ".card:first-child canvas")[..., :3] - expected(expls[0])).max() <= 5
    assert "00011.js" not in asked
    page.locator(".card").last.scroll_into_view_if_needed()
    page.wait_for_selector(".card:last-child[data-shown]")
    assert abs(pixels(page, ".card:last-child canvas")[..., :3] - expected(expls[-1])).max() <= 5
    assert "00005.js" not in asked
    page.locator("#search").fill("030")
    page.wait_for_selector("#name-30 ~ .choice")
    page.wait_for_function("document.querySelectorAll('.card:not([hidden])[data-shown]').length")
    assert page.locator("#found").inner_text() == "1 of 60 pictures"


def test_a_page_without_its_folder_says_what_is_missing(many):
    _, path, page, _ = many
    for each in (path.parent / "why so_files").iterdir():
        each.unlink()
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelector('.said').textContent.includes('missing')")
    said = page.locator(".said").first.inner_text()
    assert said == "The file why%20so_files/00000.js, which belongs beside this page, is missing."


def test_a_page_of_few_is_one_file(tmp_path):
    eli5k.save(
        [explain(np.eye(2), source=str(number)) for number in range(30)], tmp_path / "a.html"
    )
    assert [each.name for each in tmp_path.iterdir()] == ["a.html"]
