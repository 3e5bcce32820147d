# Names each tool that is missing, with the command that installs it on Debian or Ubuntu.
missing=0

need() { # what, how to get it
  echo "$1 is missing: $2" >&2
  missing=1
}

command -v git >/dev/null 2>&1 || need "git" "sudo apt install git"

if ! command -v "$PYTHON" >/dev/null 2>&1; then
  need "Python 3.11 or newer" "sudo apt install python3 python3-venv python3-pip"
elif ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  need "Python 3.11 or newer ($PYTHON is $("$PYTHON" --version 2>&1))" \
    "sudo apt install python3.11 python3.11-venv, then make PYTHON=python3.11"
elif ! "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null; then
  need "Python's venv" "sudo apt install python3-venv"
fi

if ! command -v node >/dev/null 2>&1; then
  need "Node 20 or newer" "sudo apt install nodejs npm"
elif ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
  need "Node 20 or newer (this is $(node --version))" "see https://nodejs.org for a newer one"
fi

command -v npm >/dev/null 2>&1 || need "npm" "sudo apt install npm"

exit $missing
