"""The report: runs side by side as one page of HTML that asks nothing of a network, and as CSV.

found = reading.read(comparison.names(folders))
page.write('build/report', found)
"""
