# shellcheck shell=bash
# What scripts/demo and scripts/test share: find, install or name what is missing. Sourced, not run.
#
# The rule: whatever a fresh Debian, Ubuntu or Raspberry Pi OS lacks is installed when we may (root, or
# sudo), and otherwise named together with the command that installs it. Nothing that works is replaced.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# How large the agent is to be at most, release and stripped, in bytes: the bar of scripts/measure, and what it has now with a
# little room, so that nothing large comes in unseen. scripts/test fails beyond either; the second is raised with what was decided on.
# shellcheck disable=SC2034  # used by those who source this
agent_size_bar=3500000
# shellcheck disable=SC2034
agent_size_most=3200000

say() { printf '%s\n' "$*" >&2; }
die() {
    printf '\n%s: %s\n' "${0##*/}" "$1" >&2
    shift
    for line in "$@"; do printf '    %s\n' "$line" >&2; done
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: as we are, or through sudo (which may ask for a password only at a terminal).
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo && [ -t 0 ]; then
        sudo "$@"
    elif has sudo; then
        sudo -n "$@"
    else
        return 1
    fi
}

apt_is_fresh=no

# install_packages PACKAGE…: with apt. Quiet where it works; where it doesn't, apt's own words.
install_packages() {
    local log
    has apt-get || { say "no apt-get here: install by hand: $*"; return 1; }
    as_root true 2>/dev/null || { say "not root, and sudo is absent or wants a password: can't install $*"; return 1; }
    say "installing $* (apt-get)"
    log=$(mktemp)
    if [ $apt_is_fresh = no ]; then
        # Lists may be stale or absent (containers): without this a fresh machine finds no package at all.
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >"$log" 2>&1 </dev/null \
            || say "apt-get update failed; trying with the lists there are"
        apt_is_fresh=yes
    fi
    if as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >>"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        tail -n 20 "$log" >&2
        rm -f "$log"
        return 1
    fi
}

# need_packages WHY PACKAGE…: install them or stop with the command to type.
need_packages() {
    local why=$1
    shift
    install_packages "$@" || die "$why, and it could not be installed from here." \
        "Install it and start this again:" "    sudo apt-get update && sudo apt-get install -y $*"
}

# want_command COMMAND PACKAGE: true if the command is there or could be installed; for steps that may be skipped.
want_command() {
    has "$1" || { install_packages "$2" && has "$1"; }
}

# A C compiler that links: libsecp256k1, SQLite and ring are compiled from source, and rustc links through cc.
ensure_cc() {
    local dir works=no
    dir=$(mktemp -d)
    printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' >"$dir/t.c"
    if has cc && has ar && cc -o "$dir/t" "$dir/t.c" >/dev/null 2>&1; then works=yes; fi
    rm -rf "$dir"
    [ $works = yes ] || need_packages "a C compiler is needed (cc with the C library's headers)" gcc libc6-dev
}

# The pinned toolchain, read where cargo itself reads it.
pinned_toolchain() { sed -n 's/^channel *= *"\(.*\)"/\1/p' "$root/rust-toolchain.toml"; }

# works_as VERSION: does cargo, called from the project, have the version, and is every component there?
works_as() {
    has cargo \
        && [ "$(cd "$root" && cargo --version 2>/dev/null | cut -d' ' -f2)" = "$1" ] \
        && (cd "$root" && rustc --version && cargo clippy --version && cargo fmt --version) >/dev/null 2>&1
}

# Leaves `cargo` in PATH as the pinned toolchain. Installs rustup and the toolchain only where they are absent.
ensure_rust() {
    local version
    version=$(pinned_toolchain)
    PATH="${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH"
    export PATH
    works_as "$version" && return

    if has rustup && [ "$(rustup run "$version" cargo --version 2>/dev/null | cut -d' ' -f2)" = "$version" ]; then
        # Installed, but something (a default, an override) hides it.
        export RUSTUP_TOOLCHAIN=$version
        works_as "$version" && return
    fi

    if ! has rustup; then
        say "installing rustup (Rust's own installer; into ${CARGO_HOME:-${HOME:-/root}/.cargo})"
        has curl || need_packages "curl is needed to fetch rustup" curl ca-certificates
        local installer
        installer=$(mktemp)
        if ! curl --proto '=https' --tlsv1.2 -sSf --retry 3 -o "$installer" https://sh.rustup.rs \
            || ! sh "$installer" -y --no-modify-path --profile minimal --default-toolchain none </dev/null >&2; then
            rm -f "$installer"
            # Debian 13 and Ubuntu 24.04 carry it as a package, too.
            install_packages rustup || die "rustup is needed and could not be installed." \
                "Install it as described at https://rustup.rs and start this again."
        fi
        rm -f "$installer"
    fi
    say "installing the Rust toolchain $version (rustup)"
    rustup toolchain install "$version" --profile minimal --component clippy --component rustfmt --no-self-update >&2 </dev/null \
        || die "the Rust toolchain $version could not be installed." \
            "With a working network: rustup toolchain install $version --profile minimal -c clippy -c rustfmt"
    export RUSTUP_TOOLCHAIN=$version
    works_as "$version" || die "cargo $version was installed but does not run from $root." \
        "What it says: $(cd "$root" && cargo --version 2>&1 | head -n 1)" \
        "Is another cargo before rustup's in PATH? $(command -v cargo || true)"
}

# Where cargo puts what it builds (CARGO_TARGET_DIR and cargo's own settings count).
target_dir() {
    (cd "$root" && cargo metadata --no-deps --format-version 1 --locked) \
        | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
