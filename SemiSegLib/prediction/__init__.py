"""From a model file and a scan to a segmentation on the scan's own grid."""
