"""`sharechat join` and `sharechat new`: a screen on a terminal, lines everywhere else."""
