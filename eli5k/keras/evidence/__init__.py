"""A question put to a model: which number, where to look, what to change; and the answer."""
