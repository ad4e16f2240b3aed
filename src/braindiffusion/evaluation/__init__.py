"""Evaluation of generated brains against real ones that training saw, and against real ones that it never saw.

Every estimate has a 95 % interval and a real baseline: the same statistic of real training brains against real held-out
ones, at the same number of brains. An estimate of a hundred brains says little without its baseline.
"""
