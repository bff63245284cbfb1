"""Objectives as rules for Prometheus, under the names of Sloth or of Pyrra."""
