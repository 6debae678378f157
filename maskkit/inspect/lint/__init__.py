"""Lint: what is wrong with data and masks, our own and those of any other trainer."""
