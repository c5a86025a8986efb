"""The gallery: recorded episodes, training curves and generations of a folder on one page."""
