"""The Slicer side of SemiSeg: from the scene to a run folder and back; the process that trains is another one."""
