# Sets up what the tests need beyond Rust; sourced by tests/run. Each thing is looked for first and named when installed.

deny_version=0.20.2
node_least=20

say() { echo "prepare: $*"; }

# apt_install PACKAGE...: as root, or with a sudo that asks nothing; else says the line to type.
apt_install() {
  local as=()
  if ! command -v apt-get >/dev/null; then
    say "not a Debian machine: please install what corresponds to: $*" >&2
    return 1
  fi
  if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      say "missing: $*. Please run: sudo apt-get install -y $*" >&2
      return 1
    fi
    as=(sudo)
  fi
  say "installing with apt-get: $*"
  "${as[@]}" apt-get update -qq
  "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

node_major() { node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0; }

prepare_rust() {
  command -v cargo >/dev/null || { say "Rust is missing: see https://rustup.rs" >&2; return 1; }
  local component
  for component in fmt clippy; do
    if ! cargo "$component" --version >/dev/null 2>&1; then
      say "installing with rustup: $component"
      rustup component add "${component/#fmt/rustfmt}"
    fi
  done
  # SQLite, ring and zstd are compiled from C, and so is the clients' better-sqlite3 (with make, g++ and Python).
  local missing=()
  command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null || missing+=(build-essential)
  [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
  # Without optimisation and without its fetching part, which is half of its own compile time.
  if ! cargo deny --version >/dev/null 2>&1; then
    say "installing with cargo: cargo-deny $deny_version"
    cargo install --quiet --locked --debug --no-default-features --target-dir "$CARGO_TARGET_DIR/cargo-deny" "cargo-deny@$deny_version"
    rm -rf "$CARGO_TARGET_DIR/cargo-deny"
  fi
}

prepare_postgres() {
  [ -z "${FIELDSTONE_TEST_POSTGRES_URL:-}" ] || { say "PostgreSQL: the server of FIELDSTONE_TEST_POSTGRES_URL"; return; }
  if ! tests/with-postgres true 2>/dev/null; then
    # Debian starts a server of its own after this; the tests leave that one alone and start theirs.
    apt_install postgresql
    tests/with-postgres true
  fi
}

# A mail server that nobody here wrote.
prepare_mail() {
  local python=tests/.venv/bin/python
  if ! $python -c 'import aiosmtpd' 2>/dev/null; then
    local base=/usr/bin/python3
    [ -x $base ] || base=$(command -v python3 || true)
    if [ -z "$base" ] || ! "$base" -c 'import venv, ensurepip' 2>/dev/null; then
      apt_install python3 python3-venv
      base=/usr/bin/python3
    fi
    say "installing into tests/.venv: $(paste -sd' ' tests/mail-requirements.txt)"
    rm -rf tests/.venv
    "$base" -m venv tests/.venv
    $python -m pip install --quiet --disable-pip-version-check -r tests/mail-requirements.txt
  fi
}

prepare_clients() {
  if [ "$(node_major)" -lt $node_least ]; then
    # Debian 12 has 18, Debian 13 has 20.
    local offered
    offered=$(apt-cache policy nodejs 2>/dev/null | sed -nE 's/^ *Candidate: ([0-9]+)\..*/\1/p')
    if [ "${offered:-0}" -lt $node_least ]; then
      say "Node $node_least or newer is needed, found: $(node --version 2>/dev/null || echo none). Please run as root:" >&2
      say "  curl -fsSL https://deb.nodesource.com/setup_22.x | bash - && apt-get install -y nodejs" >&2
      return 1
    fi
    apt_install nodejs npm libnode-dev
  fi
  local stamp=tests/clients/node_modules/.installed wanted
  wanted="$(sha256sum tests/clients/package-lock.json | cut -d' ' -f1) node $(node_major)"
  if [ "$(cat $stamp 2>/dev/null)" != "$wanted" ]; then
    say "installing with npm: the packages of tests/clients/package-lock.json (better-sqlite3 may be compiled: a minute)"
    # Where Node's headers are on the machine, they need not be fetched.
    local prefix
    prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
    [ ! -f "$prefix/include/node/node.h" ] || export npm_config_nodedir="$prefix"
    npm --prefix tests/clients ci --no-audit --no-fund --loglevel=error
    echo "$wanted" >$stamp
  fi
}

step_prepare() {
  prepare_rust
  prepare_postgres
  prepare_mail
  prepare_clients
}
