"""From cases on disk to the batches a training step sees: prepared once, cropped, augmented, rows by regime."""
