"""Objectives that already run in a Prometheus, under the rules of Sloth or Pyrra, as objectives here."""
