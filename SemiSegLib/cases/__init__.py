"""From files to checked cases: datasets, volumes with their place in space, and the patient-wise split."""
