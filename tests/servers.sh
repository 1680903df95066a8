#!/usr/bin/env bash
# The real servers that the guard's tests start themselves: PostgreSQL, Redis, nginx and a headless Chromium, from Debian's packages.
# As root what is missing is installed; otherwise one line says what to install, and the tests that need it are skipped, loudly.
set -u
missing=()
compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql)
command -v redis-server > /dev/null || missing+=(redis-server)
command -v nginx > /dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
command -v chromium > /dev/null || missing+=(chromium)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq > /dev/null 2>&1 && apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null 2>&1 && exit 0
fi
echo "Some tests of the guard will be skipped; to run them: apt-get install ${missing[*]}" >&2
exit 0
