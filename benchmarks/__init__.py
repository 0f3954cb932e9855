"""Benchmarks: how long films take from a DICOM archive to probabilities, by which way."""
