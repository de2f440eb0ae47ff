"""What pytest leaves alone: programs that run in an environment of their own."""

collect_ignore = ["peers/dbos_program.py"]
