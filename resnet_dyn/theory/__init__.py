"""What the virtual ensemble should be: the equations of Littwin & Wolf (2016) as functions.

Arrays over path lengths run over r = 1..p at index r - 1. Nothing here knows a network.
"""
