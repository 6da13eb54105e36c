"""A small classifier and pictures of which it is known what is where; and how both were made.

``digits.keras`` names the handwritten digit in a picture of 96x96 pixels, ``scene*.png`` are
pictures that it has not seen, and ``scenes.json`` tells what is in them and where.
"""
