"""What a Keras model is: the only place that knows Keras' private names."""
