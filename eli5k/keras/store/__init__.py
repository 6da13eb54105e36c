"""Explanations on disk, in Parquet files that survive a kill."""
