"""Cohorts: find, describe, preprocess and store volumes. Opening a prepared cohort needs no torch."""
