"""Explanations on disk: a folder of Parquet files that survives a kill at any moment."""
