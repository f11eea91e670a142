"""Places that run a command of ours later or elsewhere: what is written and started there, as text.

Each is a function of a `jobs.Job` and the options of the place; nothing is run or looked up here.
"""
