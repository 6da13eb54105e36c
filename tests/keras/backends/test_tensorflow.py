"""TensorFlow: its one switch for all threads is given back as it was."""

from __future__ import annotations

import keras
import pytest

if keras.config.backend() != "tensorflow":
    pytest.skip("about TensorFlow's own switch", allow_module_level=True)

import tensorflow as tf

from eli5k.keras.backends.tensorflow import at_inference


class TestFunctionsRunEagerly:
    @pytest.mark.parametrize("before", [False, True])
    def test_until_the_last_of_two_threads_is_done(self, before):
        tf.config.run_functions_eagerly(before)
        try:
            first, second = at_inference(), at_inference()
            first.__enter__()
            second.__enter__()
            first.__exit__(None, None, None)
            assert tf.config.functions_run_eagerly()
            second.__exit__(None, None, None)
            assert tf.config.functions_run_eagerly() == before
        finally:
            tf.config.run_functions_eagerly(False)
