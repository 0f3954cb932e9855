"""The network: checkpoint, inference, training, calibration, heatmaps and statistics."""
