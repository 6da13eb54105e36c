"""Questions to a model, and the evidence that answers them."""
