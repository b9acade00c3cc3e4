"""Metrics in millimeters, statistics over cases, and the report."""
