"""What Slurm runs: scripts, and two small programs that any Python runs without this package being importable.

`pacsifier-slurm` (cli/slurm.py) becomes `submit.sh`; that copies the others into the folder of the jobs.
"""
