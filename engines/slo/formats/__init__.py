"""Formats of other tools: OpenSLO, Sloth and Pyrra, read into the one shape of an objective, and written from it."""
