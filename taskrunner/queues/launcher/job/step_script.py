"""What runs before the script of each step: it gives the step its two commands, and its secrets as files.

It is text for `/bin/sh`, so that it works wherever a step does. The shell of the step follows as its arguments, with
the name of the script at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

FOLDER = "LAUNCHER_FOLDER"
"""The variable with the folder in which the commands and files are made."""

OUTPUTS = "LAUNCHER_OUTPUTS"
"""The variable with the names of the outputs that the step must set."""

TEXT_FILES, BASE64_FILES = "LAUNCHER_TEXT_FILES", "LAUNCHER_BASE64_FILES"
"""The variables with the names of those whose value goes into a file, as it is or decoded; the path replaces it."""

_COMMAND = r"""#!/bin/sh
if [ $# -ne 2 ]; then echo "usage: ${0##*/} NAME VALUE" >&2; exit 2; fi
case "${0##*/}" in set-env) file=$TASKRUNNER_ENV;; *) file=$TASKRUNNER_OUTPUT;; esac
end=END
while :; do case "$2" in *"$end"*) end=${end}_;; *) break;; esac; done
printf "%s<<%s\n%s\n%s\n" "$1" "$end" "$2" "$end" >>"$file"
"""

_PREPARE = rf"""
bin=${FOLDER}/bin files=${FOLDER}/files
if [ ! -x "$bin/set-output" ] || [ ! -x "$bin/set-env" ] || [ ! -d "$files" ]; then
  (umask 077; mkdir -p "$bin" "$files") || exit 127
  for name in set-output set-env; do printf %s '{_COMMAND}' >"$bin/$name" || exit 127; done
  chmod 700 "$bin/set-output" "$bin/set-env" || exit 127
fi
for name in ${TEXT_FILES}; do
  eval "value=\$$name" && (umask 077; printf %s "$value" >"$files/$name") || exit 127
  export "$name=$files/$name"
done
for name in ${BASE64_FILES}; do
  eval "value=\$$name" && (umask 077; printf %s "$value" | base64 -d >"$files/$name") || exit 127
  export "$name=$files/$name"
done
required=${OUTPUTS}
unset value {FOLDER} {OUTPUTS} {TEXT_FILES} {BASE64_FILES}
export PATH="$bin:$PATH"
"""

_RUN = r"""
exec "$@"
"""

_RUN_AND_CHECK = r"""
"$@" || exit
for name in $required; do
  found=
  while IFS= read -r line; do case "$line" in "$name<<"*|"$name="*) found=1;; esac; done <"$TASKRUNNER_OUTPUT"
  if [ -z "$found" ]; then echo "the step has not set its output $name" >&2; exit 1; fi
done
"""


def shell_of_step(shell: Sequence[str], *, checks_outputs: bool) -> tuple[str, ...]:
    """The program and arguments that a step has as its `shell`."""
    script = _PREPARE + (_RUN_AND_CHECK if checks_outputs else _RUN)
    return ("/bin/sh", "-c", script, "step", *shell)
