"""What names mean: from a label scheme and label values to the leaves each voxel may be."""
