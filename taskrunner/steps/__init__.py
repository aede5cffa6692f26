"""Tasks of several steps, for every engine that can start a command.

specification   the fields of a step, and their validation
condition       the language of `if`
expansion       `${...}` in the values of `env`
assignments     the form of the files of outputs and variables
sequence        which step runs next, and how the whole ends; pure
step_files      the three files of a running step
step_lines      the lines of a log at which a step begins and ends
sandbox         what an engine provides
runner          runs the steps in it
"""
