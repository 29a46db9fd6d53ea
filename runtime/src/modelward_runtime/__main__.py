"""`python -I -m modelward_runtime`: the command `modelward`, deaf to the variables that change Python. The image's entry point."""

from modelward_runtime.cli import main

main()
