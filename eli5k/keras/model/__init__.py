"""Facts about Keras models, and the only home of Keras' private names."""
