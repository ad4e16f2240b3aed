"""Is it any good, and is it copied: generated brains beside real ones that training saw, and that it never saw.

Every figure stands with its interval and with its floor: what real training brains score against real held-out ones at
the same number of brains. A figure without its floor says nothing at a hundred brains.
"""
