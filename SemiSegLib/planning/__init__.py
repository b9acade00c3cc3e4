"""From a dataset's fingerprint to the plan that training and prediction share."""
