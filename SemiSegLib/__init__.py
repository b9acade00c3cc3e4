"""SemiSegLib: segmentation models from few fine labels and many coarse, partial or missing ones."""

__version__ = "0.1.0"
