"""Upkeep of what is stored: which points stay. Rule: nothing a kept point needs is ever removed."""
