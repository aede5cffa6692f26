#!/bin/sh
# Makes the image `redis-example` of Debian's package redis-server: the program and the libraries that it is linked to,
# and nothing else. No registry is asked. First, as root: apt-get install redis-server
set -eu

server=$(command -v redis-server)
libraries=$(ldd "$server" | grep -o '/[^ ]*')
echo "$server $libraries" | tr ' ' '\n' | sort -u |
  tar --create --dereference --files-from=- 2>/dev/null |
  docker import --change "ENTRYPOINT [\"$server\", \"--save\", \"\"]" - redis-example
