"""A small classifier with pictures, to try eli5k on without a download; and how both were made.

``digits.keras`` names the handwritten digit in a picture of 96x96 pixels, ``scene*.png`` are
pictures that it has not seen, and ``scenes.json`` tells what is in them and where. See
:mod:`eli5k.demo.scenes` and :mod:`eli5k.demo.train`; only these two need scikit-learn.
"""
