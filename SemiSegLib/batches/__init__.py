"""From cases to training batches: prepared once on disk, sampled as patches, augmented on the device."""
