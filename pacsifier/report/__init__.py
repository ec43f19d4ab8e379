"""The report: one page with pictures of what a folder holds, what was asked for, and what is missing."""
