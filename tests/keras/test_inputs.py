"""Each kind of document: what the model gets of it, and the picture that is shown."""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from keras import layers
from PIL import Image, TiffImagePlugin

from eli5k import ExplanationWarning, explain_prediction
from eli5k.keras.inputs import check_batch, read_document
from eli5k.keras.model.interface import may_have_grid
from eli5k.keras.model.survey import survey
from eli5k.keras.pictures import picture_of
from eli5k.pixels import open_picture
from tests.close import assert_close
from tests.zoo import (
    SHAPE,
    STRUCTURES,
    Subclassed,
    as_heatmap,
    closed_form,
    functional,
    net_layers,
    noise,
)

HEIGHT, WIDTH = 4, 6
_models = {}


def model_of(*shape, dtype="float32"):
    """A small model that takes images of a shape."""
    key = (shape, dtype)
    if key not in _models:
        _models[key] = keras.Sequential([keras.Input(shape, dtype=dtype), layers.Conv2D(1, 3)])
    return _models[key]


MODEL = model_of(HEIGHT, WIDTH, 3)


def pixels(height=HEIGHT, width=WIDTH, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype("uint8")


def saved(picture, suffix=".png", **options):
    """Bytes of a picture's file."""
    file = io.BytesIO()
    picture.save(file, {".png": "PNG", ".tiff": "TIFF", ".jpg": "JPEG"}[suffix], **options)
    return file.getvalue()


class TestArrays:
    @given(
        arrays(
            st.sampled_from(["uint8", "int16", "int64", "float32", "float64", "float16", "bool"]),
            (HEIGHT, WIDTH, 3),
        ),
        st.booleans(),
    )
    # Of numbers that float32 or a picture cannot hold.
    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    def test_any_real_dtype_with_or_without_the_batch_axis(self, array, with_batch):
        document = read_document(MODEL, array[np.newaxis] if with_batch else array)
        assert document.inputs.dtype == np.float32
        assert document.inputs.shape == (1, HEIGHT, WIDTH, 3)
        np.testing.assert_array_equal(document.inputs[0], array.astype("float32"))
        assert document.pictures[0].size == (WIDTH, HEIGHT)

    @pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32", "uint8"])
    def test_tensor_of_the_backend(self, dtype):
        values = np.arange(HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3)
        for array in (values, values[np.newaxis]):
            tensor = keras.ops.cast(keras.ops.convert_to_tensor(array), dtype)
            document = read_document(MODEL, tensor)
            np.testing.assert_array_equal(document.inputs[0], values)
        variable = keras.Variable(values.astype("float32"))
        np.testing.assert_array_equal(read_document(MODEL, variable).inputs[0], values)

    def test_array_of_another_order_or_class(self, tmp_path):
        values = pixels()
        on_disk = np.memmap(tmp_path / "pixels", "uint8", "w+", shape=values.shape)
        on_disk[:] = values
        for array in (np.asfortranarray(values), values[::-1][::-1], on_disk):
            np.testing.assert_array_equal(read_document(MODEL, array).inputs[0], values)

    def test_integers_stay_integers_for_a_model_that_takes_them(self):
        class TakesIntegers(layers.Layer):
            def call(self, x):
                return keras.ops.cast(x, "float32")

        model = keras.Sequential(
            [keras.Input((HEIGHT, WIDTH, 3), dtype="uint8"), TakesIntegers(), layers.Conv2D(1, 3)]
        )
        assert read_document(model, pixels()).inputs.dtype == np.uint8

    @given(array_shapes(min_dims=1, max_dims=6, max_side=7))
    def test_any_other_shape_is_an_error_that_names_both(self, shape):
        if shape in ((HEIGHT, WIDTH, 3), (1, HEIGHT, WIDTH, 3)):
            return
        with pytest.raises(ValueError, match=r"doc must be of shape \(1, 4, 6, 3\)") as error:
            read_document(MODEL, np.zeros(shape))
        assert str(error.value).endswith(f"Received: {shape}")

    @pytest.mark.parametrize("samples", [0, 2, 3])
    def test_not_one_sample(self, samples):
        with pytest.raises(ValueError, match=rf"one sample.*Received: \({samples}, 12, 12, 3\)"):
            explain_prediction(functional(net_layers()), noise(samples, *SHAPE))

    @pytest.mark.parametrize(
        ("doc", "received"),
        [
            ([[1.0, 2.0]], "list"),
            (pixels().tolist(), "list"),
            (None, "NoneType"),
            (3, "int"),
            ({1, 2}, "set"),
            (object(), "object"),
            (np.full((HEIGHT, WIDTH, 3), None), "dtype object"),
            (np.full((HEIGHT, WIDTH, 3), "1"), "dtype <U1"),
            (np.zeros((HEIGHT, WIDTH, 3), complex), "dtype complex128"),
        ],
    )
    def test_what_is_no_document(self, doc, received):
        with pytest.raises(TypeError, match=f"(?s)doc.*Received.*{received}"):
            read_document(MODEL, doc)

    def test_not_about_images(self):
        """As eli5: no exception, but an explanation that says so."""
        text = keras.Sequential([keras.Input((5,)), layers.Dense(2)])
        for model, doc in ((text, noise(1, 5)), (MODEL, noise(1, 5))):
            with pytest.warns(ExplanationWarning, match="is not supported"):
                explanation = explain_prediction(model, doc)
            assert "is not supported" in explanation.error
            assert model.name in explanation.error
            assert explanation.targets is None


class TestPictures:
    @pytest.mark.parametrize(
        "given_as", ["picture", "str", "path"], ids=lambda given_as: f"as {given_as}"
    )
    def test_picture_and_path(self, given_as, tmp_path):
        picture = Image.fromarray(pixels(40, 60))
        path = tmp_path / "photo.png"
        picture.save(path)
        doc = {"picture": picture, "str": str(path), "path": path}[given_as]
        document = read_document(MODEL, doc)
        expected = np.asarray(picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))
        assert document.inputs.dtype == np.float32
        np.testing.assert_array_equal(document.inputs[0], expected)
        assert document.pictures[0].size == (60, 40)
        assert document.pictures[0].tobytes() == picture.tobytes()

    def test_map_is_that_of_the_resized_array_and_the_picture_is_the_photo(self):
        net = net_layers()
        picture = Image.fromarray(pixels(50, 70))
        explanation = explain_prediction(
            functional(net), picture, targets=[1], preprocess=lambda x: x / 127.5 - 1
        )
        small = np.asarray(picture.resize(SHAPE[1::-1], Image.Resampling.BILINEAR), "float32")
        expected = as_heatmap(closed_form(net, small[np.newaxis] / 127.5 - 1, 1))
        np.testing.assert_allclose(explanation.targets[0].heatmap, expected, atol=1e-5)
        assert explanation.image.tobytes() == picture.tobytes()

    def test_model_of_any_size_takes_the_picture_as_it_is(self):
        picture = Image.fromarray(pixels(9, 7))
        document = read_document(model_of(None, None, 3), picture)
        np.testing.assert_array_equal(document.inputs[0], np.asarray(picture))
        document = read_document(model_of(5, None, 3), picture)
        assert document.inputs.shape == (1, 5, 7, 3)
        document = read_document(Subclassed(net_layers()), picture)
        np.testing.assert_array_equal(document.inputs[0], np.asarray(picture))

    def test_channels_that_the_model_takes(self):
        picture = Image.fromarray(pixels(channels=4))
        for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
            document = read_document(model_of(HEIGHT, WIDTH, channels), picture)
            expected = np.asarray(picture.convert(mode), "float32")
            np.testing.assert_array_equal(
                document.inputs[0], expected.reshape(HEIGHT, WIDTH, channels)
            )
        for channels in (2, 5):
            with pytest.raises(ValueError, match=rf"doc is a picture.*{channels} channels.*image="):
                read_document(model_of(HEIGHT, WIDTH, channels), picture)

    def test_channels_first(self):
        model = keras.Sequential(
            [
                keras.Input((3, HEIGHT, WIDTH)),
                layers.MaxPooling2D(data_format="channels_first"),
            ]
        )
        picture = Image.fromarray(pixels(8, 9))
        first, last = read_document(model, picture), read_document(MODEL, picture)
        np.testing.assert_array_equal(np.moveaxis(first.inputs, 1, -1), last.inputs)
        first = read_document(model, np.moveaxis(last.inputs, -1, 1))
        assert (
            first.pictures[0].tobytes() == read_document(MODEL, last.inputs).pictures[0].tobytes()
        )

    def test_preprocess_gets_a_batch_of_floats_and_the_picture_stays(self):
        given = []

        def preprocess(array):
            given.append((array.shape, str(array.dtype)))
            return array[..., ::-1] / 255

        picture = Image.fromarray(pixels())
        document = read_document(MODEL, picture, preprocess=preprocess)
        assert given == [((1, HEIGHT, WIDTH, 3), "float32")]
        expected = np.asarray(picture, "float32")[..., ::-1] / 255
        assert_close(document.inputs[0], expected)
        assert document.pictures[0].tobytes() == picture.tobytes()

    def test_preprocess_of_keras_applications(self):
        picture = Image.fromarray(pixels())
        scale = keras.applications.mobilenet_v2.preprocess_input
        document = read_document(MODEL, picture, preprocess=scale)
        np.testing.assert_allclose(
            document.inputs[0], np.asarray(picture, "float32") / 127.5 - 1, atol=1e-6
        )


def upright():
    """A picture without any symmetry."""
    return pixels(HEIGHT, WIDTH, seed=4)


# What a viewer must do to the stored pixels, by the EXIF standard, to show them upright.
ORIENTATIONS = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.swapaxes(np.rot90(stored, 2), 0, 1),
    8: lambda stored: np.rot90(stored, 1),
}
BACK = {6: ORIENTATIONS[8], 8: ORIENTATIONS[6]}


class TestFileFormats:
    def read(self, picture, tmp_path, suffix=".png", **options):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(saved(picture, suffix, **options))
        return open_picture(path)

    @pytest.mark.parametrize("orientation", ORIENTATIONS)
    def test_turned_by_exif(self, orientation, tmp_path):
        stored = BACK.get(orientation, ORIENTATIONS[orientation])(upright())
        np.testing.assert_array_equal(ORIENTATIONS[orientation](stored), upright())
        picture = Image.fromarray(np.ascontiguousarray(stored))
        exif = picture.getexif()
        exif[0x0112] = orientation
        path = tmp_path / "photo.png"
        picture.save(path, exif=exif)
        document = read_document(MODEL, path)
        np.testing.assert_array_equal(np.asarray(document.pictures[0]), upright())
        np.testing.assert_array_equal(document.inputs[0], upright())

    def test_grey(self, tmp_path):
        values = pixels()[..., 0]
        picture = self.read(Image.fromarray(values), tmp_path)
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), values)
        document = read_document(MODEL, picture)
        np.testing.assert_array_equal(document.inputs[0], np.stack([values] * 3, axis=-1))
        document = read_document(model_of(HEIGHT, WIDTH, 1), picture)
        np.testing.assert_array_equal(document.inputs[0, ..., 0], values)

    def test_black_and_white(self, tmp_path):
        values = pixels()[..., 0] > 128
        picture = self.read(Image.fromarray(values), tmp_path)
        np.testing.assert_array_equal(np.asarray(picture), values * np.uint8(255))

    def test_rgba(self, tmp_path):
        values = pixels(channels=4)
        picture = self.read(Image.fromarray(values), tmp_path)
        assert picture.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(picture), values)
        np.testing.assert_array_equal(read_document(MODEL, picture).inputs[0], values[..., :3])

    def test_grey_with_alpha(self, tmp_path):
        values = pixels(channels=2)
        picture = self.read(Image.fromarray(values, "LA"), tmp_path)
        expected = values[..., [0, 0, 0, 1]]
        np.testing.assert_array_equal(np.asarray(picture), expected)

    @pytest.mark.parametrize("transparent", [False, True])
    def test_palette(self, transparent, tmp_path):
        colours = pixels(1, 5, seed=9)[0]
        indices = pixels()[..., 0] % 5
        picture = Image.fromarray(indices, "P")
        picture.putpalette(colours.tobytes())
        options = {"transparency": 2} if transparent else {}
        result = self.read(picture, tmp_path, **options)
        assert result.mode == ("RGBA" if transparent else "RGB")
        np.testing.assert_array_equal(np.asarray(result)[..., :3], colours[indices])
        if transparent:
            np.testing.assert_array_equal(
                np.asarray(result)[..., 3], np.where(indices == 2, 0, 255)
            )
        np.testing.assert_array_equal(
            read_document(MODEL, result).inputs[0], colours[indices].astype("float32")
        )

    @pytest.mark.parametrize("suffix", [".png", ".tiff"])
    def test_sixteen_bits(self, suffix, tmp_path):
        values = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype("uint16")
        picture = self.read(Image.fromarray(values), tmp_path, suffix)
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), np.round(values / 257).astype("uint8"))

    def test_the_mode_decides_never_the_largest_value(self, tmp_path):
        # Two pictures of one camera: the darker one stays the darker one.
        for largest in (65535, 4095, 255, 3):
            values = np.linspace(0, largest, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype("uint16")
            for picture in (Image.fromarray(values), self.read(Image.fromarray(values), tmp_path)):
                expected = np.round(values / 257).astype("uint8")
                np.testing.assert_array_equal(np.asarray(open_picture(picture)), expected)

    @pytest.mark.parametrize("largest", [1.0, 0.5, 0.1])
    def test_floats_go_to_1_and_say_so(self, largest, tmp_path):
        values = np.linspace(0, largest, HEIGHT * WIDTH, dtype="float32").reshape(HEIGHT, WIDTH)
        with pytest.warns(ExplanationWarning, match=f"'F' .* to {largest:.4g}, .* from 0 to 1"):
            picture = self.read(Image.fromarray(values), tmp_path, ".tiff")
        np.testing.assert_array_equal(np.asarray(picture), np.round(values * 255).astype("uint8"))

    def test_integers_of_32_bits_go_to_65535_and_say_so(self):
        values = np.array([[0, 65535], [32768, 255]], "int32")
        for factor in (1, 0.1):
            picture = Image.fromarray((values * factor).astype("int32"))
            with pytest.warns(ExplanationWarning, match="'I' .* from 0 to 65535"):
                found = open_picture(picture)
            expected = np.round(np.asarray(picture) / 257)
            np.testing.assert_array_equal(np.asarray(found), expected)

    @pytest.mark.parametrize("value", [7, np.nan, -np.inf])
    def test_one_value_everywhere(self, value):
        with pytest.warns(ExplanationWarning, match="no fixed range"):
            picture = open_picture(Image.fromarray(np.full((2, 2), value, "float32")))
        assert set(np.ravel(picture)) == {255 if value == 7 else 0}

    def test_the_explanation_carries_the_warning(self):
        picture = Image.fromarray(pixels()[..., 0].astype("float32"))
        model = keras.Sequential(
            [keras.Input((HEIGHT, WIDTH, 3)), layers.Conv2D(1, 3), layers.Flatten()]
        )
        with pytest.warns(ExplanationWarning, match="no fixed range"):
            explanation = explain_prediction(model, picture, method="gradient", targets=[0])
        assert "no fixed range" in str(explanation.warnings[0])

    def test_cmyk(self, tmp_path):
        inks = {  # Cyan, magenta, yellow, black, and what they print as.
            (0, 0, 0, 0): (255, 255, 255),
            (255, 0, 0, 0): (0, 255, 255),
            (0, 255, 255, 0): (255, 0, 0),
            (0, 0, 0, 255): (0, 0, 0),
        }
        values = np.array([list(inks)], "uint8")
        picture = self.read(Image.fromarray(values, "CMYK"), tmp_path, ".tiff")
        np.testing.assert_array_equal(np.asarray(picture)[0], list(inks.values()))

    def test_video_colours(self, tmp_path):
        picture = Image.new("RGB", (16, 16), (200, 30, 90))
        result = np.asarray(self.read(picture.convert("YCbCr"), tmp_path, ".jpg", quality=100))
        assert np.abs(result.astype(int) - [200, 30, 90]).max() <= 3

    def test_result_is_a_copy(self):
        picture = Image.fromarray(pixels())
        open_picture(picture).putpixel((0, 0), (0, 0, 0))
        np.testing.assert_array_equal(np.asarray(picture), pixels())

    def test_file_is_closed(self, tmp_path):
        """A file that stays open cannot be removed on Windows, and warns here."""
        path = tmp_path / "photo.png"
        path.write_bytes(saved(Image.fromarray(pixels())))
        import gc
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            open_picture(path)
            gc.collect()


def broken_files():
    photo = Image.fromarray(pixels(64, 64))
    png, jpg, tiff = (saved(photo, suffix) for suffix in (".png", ".jpg", ".tiff"))
    return {
        "text.png": b"no picture at all",
        "empty.png": b"",
        "cut.png": png[: len(png) // 2],
        "header.png": png[:20],
        "cut.jpg": jpg[: len(jpg) // 2],
        "header.jpg": jpg[:4],
        "cut.tiff": tiff[: len(tiff) // 2],
        "header.tiff": tiff[:10],
        "damaged.png": png[:60] + bytes(100) + png[160:],
    }


class TestBrokenFiles:
    @pytest.mark.parametrize("name", broken_files())
    @pytest.mark.filterwarnings("ignore:(Corrupt EXIF data|Truncated File Read):UserWarning")
    def test_is_an_oserror(self, name, tmp_path):
        path = tmp_path / name
        path.write_bytes(broken_files()[name])
        for doc in (path, str(path)):
            with pytest.raises(OSError, match=r"\S"):
                read_document(MODEL, doc)
            with pytest.raises(OSError, match=r"\S"):
                explain_prediction(MODEL, pixels(), image=doc)

    def test_missing_file_and_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"none\.png"):
            explain_prediction(MODEL, "none.png")
        with pytest.raises(OSError, match=tmp_path.name):
            explain_prediction(MODEL, tmp_path)

    def test_decompression_bomb(self, tmp_path, monkeypatch):
        path = tmp_path / "bomb.png"
        path.write_bytes(saved(Image.new("L", (100, 100))))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(OSError, match=r"bomb\.png.*DecompressionBombError"):
            read_document(MODEL, path)

    @pytest.mark.filterwarnings("ignore:(Corrupt EXIF data|Truncated File Read):UserWarning")
    def test_every_cut_of_a_file(self, tmp_path):
        """Wherever a file ends too early, it is an OSError and nothing else."""
        path = tmp_path / "cut"
        tiff = TiffImagePlugin.ImageFileDirectory_v2()
        tiff[270] = "a description"
        files = [
            saved(Image.fromarray(pixels(8, 8))),
            saved(Image.fromarray(pixels(8, 8)), ".jpg"),
            saved(Image.fromarray(pixels(8, 8)), ".tiff", tiffinfo=tiff),
        ]
        for content in files:
            for end in range(0, len(content) - 20, 7):
                path.write_bytes(content[:end])
                try:
                    open_picture(path)
                except OSError:
                    continue


class TestImageArgument:
    def test_is_shown_and_nothing_else(self, tmp_path):
        net = net_layers()
        doc = noise(1, *SHAPE, seed=1)
        picture = Image.fromarray(pixels(33, 44))
        path = tmp_path / "photo.png"
        picture.save(path)
        for image in (picture, path, str(path)):
            explanation = explain_prediction(functional(net), doc, targets=[2], image=image)
            assert explanation.image.tobytes() == picture.tobytes()
            np.testing.assert_allclose(
                explanation.targets[0].attribution, closed_form(net, doc, 2), atol=1e-6
            )

    def test_goes_before_a_picture_in_doc(self):
        shown, seen = Image.new("RGB", (9, 9)), Image.fromarray(pixels())
        document = read_document(MODEL, seen, image=shown)
        assert document.picture(survey(MODEL, document.inputs)).tobytes() == shown.tobytes()
        np.testing.assert_array_equal(document.inputs[0], pixels())

    @pytest.mark.parametrize("image", [3, {1, 2}, ["a.png"]])
    def test_must_be_a_picture_or_a_path(self, image):
        with pytest.raises(TypeError, match=f"image must be.*Received: {type(image).__name__}"):
            explain_prediction(MODEL, pixels(), image=image)


class TestPictureOf:
    @given(arrays("float32", st.sampled_from([(3, 4, 1), (3, 4, 3)]),
                  elements=st.floats(-100, 1000, width=32)))  # fmt: skip
    def test_is_that_of_keras(self, array):
        picture = picture_of(array)
        expected = keras.utils.array_to_img(array, data_format="channels_last")
        assert picture.mode == {1: "L", 3: "RGB"}[array.shape[-1]]
        assert picture.tobytes() == expected.tobytes()

    def test_four_channels_are_opaque(self):
        array = noise(3, 4, 4)
        array[..., 3] = -1000
        for picture in (picture_of(array), picture_of(np.moveaxis(array, -1, 0), True)):
            assert picture.mode == "RGB"
            assert picture.tobytes() == picture_of(array[..., :3]).tobytes()

    def test_a_file_of_four_channels_for_a_model_of_four_is_opaque(self, tmp_path):
        values = pixels(channels=4)
        Image.fromarray(values).save(tmp_path / "depth.png")
        document = read_document(model_of(HEIGHT, WIDTH, 4), tmp_path / "depth.png")
        np.testing.assert_array_equal(document.inputs[0], values)
        assert document.pictures[0].mode == "RGB"
        np.testing.assert_array_equal(np.asarray(document.pictures[0]), values[..., :3])

    @pytest.mark.parametrize("channels", [2, 5, 13])
    def test_other_channels_are_shown_in_grey(self, channels):
        array = noise(3, 4, channels)
        picture = picture_of(array)
        mean = array.mean(axis=-1)
        expected = (mean - mean.min()) / (mean.max() - mean.min()) * 255
        assert picture.mode == "L"
        assert np.abs(np.asarray(picture) - expected).max() <= 1
        first = picture_of(np.moveaxis(array, -1, 0), channels_first=True)
        assert first.tobytes() == picture.tobytes()

    @pytest.mark.parametrize("channels", [2, 5])
    def test_explanation_of_other_channels(self, channels):
        model = keras.Sequential(
            [
                keras.Input((9, 9, channels)),
                layers.Conv2D(2, 3),
                layers.GlobalAveragePooling2D(),
                layers.Dense(2),
            ]
        )
        doc = noise(1, 9, 9, channels)
        explanation = explain_prediction(model, doc, top_targets=1)
        assert (explanation.image.mode, explanation.image.size) == ("L", (9, 9))

    @pytest.mark.parametrize("value", [0.0, 255.0, -3.0])
    def test_constant_array(self, value):
        assert picture_of(np.full((3, 4, 3), value)).size == (4, 3)

    def test_what_is_not_finite_is_left_out(self):
        array = noise(3, 4, 3)
        array[0, 0] = np.nan
        array[1, 1, 1] = np.inf
        assert picture_of(array).size == (4, 3)


class TestMayHaveGrid:
    @pytest.mark.parametrize("structure", STRUCTURES)
    def test_at_any_depth(self, structure):
        assert may_have_grid(STRUCTURES[structure](net_layers()))

    @pytest.mark.parametrize(
        "layer", [layers.Conv1D(2, 3), layers.LSTM(2)], ids=lambda layer: type(layer).__name__
    )
    def test_of_signals(self, layer):
        assert may_have_grid(keras.Sequential([layer]))

    @pytest.mark.parametrize(
        "layer", [layers.Dense(2), layers.Flatten()], ids=lambda layer: type(layer).__name__
    )
    def test_what_has_none(self, layer):
        assert not may_have_grid(keras.Sequential([layer]))


class TestCheckBatch:
    def test_array(self):
        batch = check_batch(MODEL, pixels()[np.newaxis].repeat(5, axis=0))
        assert (batch.shape, batch.dtype) == ((5, HEIGHT, WIDTH, 3), np.float32)

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ((HEIGHT, WIDTH, 3), r"\(None, 4, 6, 3\).*Received: \(4, 6, 3\)"),
            ((5, WIDTH, HEIGHT, 3), r"Received: \(5, 6, 4, 3\)"),
            ((0, HEIGHT, WIDTH, 3), "samples"),
        ],
    )
    def test_wrong_shape(self, shape, message):
        with pytest.raises(ValueError, match=f"doc.*{message}"):
            check_batch(MODEL, np.zeros(shape))

    def test_inputs_of_other_lengths(self):
        left, right = keras.Input((4, 4, 1), name="left"), keras.Input((2,), name="right")
        model = keras.Model([left, right], layers.Flatten()(layers.Conv2D(1, 3)(left)))
        with pytest.raises(ValueError, match=r"docs must have.*\[2, 3\]"):
            check_batch(model, [np.zeros((3, 4, 4, 1)), np.zeros((2, 2))])


def test_path_may_have_any_name(tmp_path):
    path = Path(tmp_path, "ein Bild ü 日本.weird")
    path.write_bytes(saved(Image.fromarray(pixels())))
    np.testing.assert_array_equal(read_document(MODEL, path).inputs[0], pixels())
