# shellcheck shell=bash
# Set-up that scripts/test and scripts/demo share. Sourced, never run.
#
#   set_up LEVEL    LEVEL is "run" (DCMTK, Python, pacsifier), "pacs" (Orthanc, PixelMed and the test packages too)
#                   or "test" (what pictures and pages need, too). Afterwards $VENV holds pacsifier and stands first
#                   on PATH. Exit status 3: something is missing that cannot be installed from here, and stderr says
#                   what to do.
#
# Read from the environment:
#   PACSIFIER_VENV        the virtual environment to make or use (default: .venv beside setup.cfg)
#   PACSIFIER_PYTHON      the Python to make it with (default: the first suitable one found)
#   PACSIFIER_DCMTK_DIR   the folder that holds the DCMTK tools (default: PATH)

set -euo pipefail

# A caller may have closed stdin; the next file opened would then become it.
if ! { : <&0; } 2>/dev/null; then exec </dev/null; fi

ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=${PACSIFIER_VENV:-$ROOT/.venv}
[[ $VENV == /* ]] || VENV=$PWD/$VENV

# What looks at pages for barriers (tests/browser). It lies in the virtual environment, never in this repository.
AXE_VERSION=4.10.3
AXE_SHA256=880970c081707360e64f34cea25ff91892f5bc95675b0776925b9709dd8a68bb
AXE=axe/node_modules/axe-core/axe.min.js

DCMTK_TOOLS=(echoscu findscu movescu getscu storescu storescp dcmqrscp dcmqridx dcmmkdir dcmdump)

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

now_ms() {
    local time=${EPOCHREALTIME:-$SECONDS.000000}
    time=${time//[!0-9]/}
    printf '%s' "${time%???}"
}

# seconds_since START_MS: the time passed, as "12.3"
seconds_since() {
    local ms=$(($(now_ms) - $1))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

# --- what the machine has -----------------------------------------------------------------------

# Python 3.10 or later that can make a virtual environment (Debian's bare python3 cannot).
suitable_python() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' </dev/null >/dev/null 2>&1
}

find_python() {
    local candidate candidates=(python3 python3.{14,13,12,11,10} /usr/bin/python3)
    # A Python that was asked for by name is not replaced by another one.
    [[ -z ${PACSIFIER_PYTHON:-} ]] || candidates=("$PACSIFIER_PYTHON")
    for candidate in "${candidates[@]}"; do
        if suitable_python "$candidate"; then
            command -v -- "$candidate"
            return
        fi
    done
    return 1
}

# Another toolkit has tools of the same names, so the banner counts too.
have_dcmtk() {
    local tool path folder=${PACSIFIER_DCMTK_DIR:+$PACSIFIER_DCMTK_DIR/}
    for tool in "${DCMTK_TOOLS[@]}"; do
        command -v "$folder$tool" >/dev/null || return 1
    done
    # An active environment with pynetdicom has a findscu of its own before DCMTK's.
    while read -r path; do
        # shellcheck disable=SC2016  # the banner begins with a dollar sign
        [[ $("$path" --version </dev/null 2>/dev/null) != '$dcmtk: findscu v'* ]] || return 0
    done < <(type -ap "${folder}findscu")
    return 1
}

have_orthanc() { command -v Orthanc >/dev/null || [[ -x /usr/sbin/Orthanc ]]; }
have_axe() { [[ -r $VENV/$AXE && $(sha256sum <"$VENV/$AXE") == "$AXE_SHA256 "* ]]; }
have_pixelmed() { [[ -r /usr/share/java/pixelmed.jar ]]; }

# --- installing what is missing -----------------------------------------------------------------

# Runs a command with its output in $LOG, and shows the end of it only when the command fails.
quietly() {
    if ! "$@" >>"$LOG" 2>&1 </dev/null; then
        warn "set-up: this failed: $*"
        tail -n 30 -- "$LOG" >&2
        return 1
    fi
}

# Debian's packages start their services; a file like this one forbids it while they are installed.
forbid_services() {
    local policy=/usr/sbin/policy-rc.d
    (set -o noclobber && printf '#!/bin/sh\nexit 101\n' >"$policy") 2>/dev/null || return 0
    # shellcheck disable=SC2064  # the path is known now
    trap "rm -f $policy" EXIT
    chmod 755 "$policy"
}

apt_install() (
    say "set-up: installing Debian packages: $*"
    forbid_services
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get -q -o DPkg::Lock::Timeout=300 update || warn "set-up: going on with the package lists at hand"
    quietly apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@" || exit 1
    if [[ " $* " == *" orthanc "* ]]; then
        # The tests start their own Orthanc; the service of the package stays off, also after a restart.
        update-rc.d orthanc disable >>"$LOG" 2>&1 || true
    fi
)

# missing_packages LEVEL: Debian's names of what this machine lacks
missing_packages() {
    if [[ ! -x $VENV/bin/python ]] && ! find_python >/dev/null; then say python3 python3-venv; fi
    have_dcmtk || say dcmtk
    [[ $1 != run ]] || return 0
    have_orthanc || say orthanc
    have_pixelmed || say libpixelmed-java
    command -v java >/dev/null || say default-jre-headless
    command -v stunnel4 >/dev/null || say stunnel4
    command -v dcm2niix >/dev/null || say dcm2niix
    # A disk that loses its power is a file system in a file.
    [[ -x /usr/sbin/mkfs.ext4 || -x /sbin/mkfs.ext4 ]] || say e2fsprogs
    [[ $1 == test ]] || return 0
    command -v dciodvfy >/dev/null || say dicom3tools
    # The shells whose completion is tried.
    command -v zsh >/dev/null || say zsh
    command -v fish >/dev/null || say fish
    command -v chromium >/dev/null || say chromium
    command -v chromedriver >/dev/null || say chromium-driver
    command -v npm >/dev/null || say npm
    # What the pictures of the tests are written with.
    local fonts=/usr/share/fonts/truetype
    [[ -e $fonts/dejavu/DejaVuSerif.ttf ]] || say fonts-dejavu-core
    # From Debian 13 on the narrow ones are a package of their own, which Debian 12 does not know.
    if [[ ! -e $fonts/liberation/LiberationSans-Regular.ttf ]]; then
        say fonts-liberation
    elif [[ ! -e $fonts/liberation/LiberationSansNarrow-Regular.ttf ]]; then
        say fonts-liberation-sans-narrow
    fi
    [[ -e $fonts/freefont/FreeSans.ttf ]] || say fonts-freefont-ttf
    [[ -e $fonts/hack/Hack-Regular.ttf ]] || say fonts-hack
    [[ -e $fonts/wqy/wqy-microhei.ttc ]] || say fonts-wqy-microhei
}

say_how_to_get() {
    warn "set-up: missing here: $*"
    if [[ " $* " == *" python3 "* || " $* " == *" dcmtk "* ]]; then
        warn "Python 3.10 or later and DCMTK come, without root, from conda-forge:"
        warn "    conda env create -f '$ROOT/environment.yml'"
        warn "    conda activate pacsifier_minimal"
    fi
    if [[ " $* " == *" orthanc "* || " $* " == *" dicom3tools "* || " $* " == *" dcm2niix "* ]]; then
        warn "Orthanc, dicom3tools and dcm2niix, which only the tests need, have to be on the PATH."
    fi
    if [[ " $* " == *" libpixelmed-java "* || " $* " == *" default-jre-headless "* ]]; then
        warn "PixelMed (/usr/share/java/pixelmed.jar) and a Java to run it are needed by the tests only."
    fi
    if [[ " $* " == *" stunnel4 "* ]]; then
        warn "stunnel, with which the tests put TLS before a PACS that has none, has to be on the PATH."
    fi
    if [[ " $* " == *" npm "* ]]; then
        warn "npm, which fetches what looks at pages for barriers, has to be on the PATH; only the tests need it."
    fi
    if [[ " $* " == *" chromium"* ]]; then
        warn "Chromium and its driver, in which the tests look at pages, have to be on the PATH."
    fi
    warn "On Debian 12, Ubuntu 22.04 or later, an administrator can install all of it:"
    warn "    sudo apt-get install --no-install-recommends $*"
    warn "Then run this again."
}

# install_missing COMMAND...: installs the packages that the command prints the names of
install_missing() {
    local packages before=''
    while read -r -d '' -a packages < <("$@") || ((${#packages[@]})); do
        # Again only where what was installed shows that something else is missing.
        if [[ $(id -u) != 0 || ${packages[*]} == "$before" ]] || ! command -v apt-get >/dev/null; then
            say_how_to_get "${packages[@]}"
            exit 3
        fi
        before=${packages[*]}
        apt_install "${packages[@]}" || exit 3
    done
}

# install_also COMMAND: the same, after `set_up`, for what only some tests need
install_also() {
    LOG=$(mktemp)
    (
        trap 'rm -f -- "$LOG"' EXIT
        install_missing "$1"
    ) || exit 3
}

# --- the virtual environment --------------------------------------------------------------------

# The state that the installed packages belong to. Any change of it means: install again.
fingerprint() {
    {
        say "$ROOT" "$VENV"
        "$VENV/bin/python" -VV
        cat -- "$ROOT"/setup.{cfg,py} "$ROOT/pyproject.toml" 2>/dev/null || true
    } | sha256sum | cut -d' ' -f1
}

# Is there a working environment, made for this very folder, by the Python that is asked for?
venv_works() {
    [[ -f $VENV/pyvenv.cfg ]] && "$VENV/bin/python" -m pip --version >/dev/null 2>&1 </dev/null || return 1
    [[ ! -s $VENV/.made-by-pacsifier || $(<"$VENV/.made-by-pacsifier") == "$VENV" ]] || return 1
    [[ -n ${PACSIFIER_PYTHON:-} ]] || return 0
    local which='import sys; print(sys.version, sys.base_prefix)'
    [[ $("$VENV/bin/python" -c "$which") == "$("$PACSIFIER_PYTHON" -c "$which")" ]]
}

# Only a folder that is empty, or that this function made, is ever emptied.
make_venv() {
    local python
    if [[ -d $VENV && ! -e $VENV/.made-by-pacsifier && -n $(ls -A -- "$VENV") ]]; then
        warn "set-up: '$VENV' is in the way: no working environment for this Python, and not made by this script."
        warn "Move it away, or name another folder in PACSIFIER_VENV."
        exit 3
    fi
    python=$(find_python) || { warn "set-up: no suitable Python (3.10 or later, with venv)"; exit 3; }
    say "set-up: making '$VENV' with $("$python" -V)"
    mkdir -p -- "$VENV"
    : >"$VENV/.made-by-pacsifier"
    quietly "$python" -m venv --clear "$VENV" || { : >"$VENV/.made-by-pacsifier"; exit 3; }
    printf '%s' "$VENV" >"$VENV/.made-by-pacsifier"
}

# install_packages LEVEL: pacsifier itself, editable, and above level "run" what the tests need
install_packages() {
    local stamp=$VENV/.pacsifier-stamp want target=$ROOT
    if [[ -f $stamp && -x $VENV/bin/python ]]; then
        want=$(fingerprint 2>/dev/null || true)
        case $(<"$stamp") in "test $want" | "$1 $want") wanted_python && return ;; esac
        [[ $(<"$stamp") != test* ]] || set -- test
    fi
    venv_works || make_venv
    say "set-up: installing pacsifier and the Python packages that it needs"
    rm -f -- "$stamp"
    # With what draws the pictures of a report; a Python too new for the reader of texts goes without that.
    if [[ $1 == run ]]; then target+='[pixels]'; else target+='[test,pixels]'; fi
    quietly "$VENV/bin/python" -m pip install --quiet --no-input --editable "$target" || exit 3
    say "$1 $(fingerprint)" >"$stamp"
}

# axe-core, of one version, by npm and without running anything of it
install_axe() {
    have_axe && return
    say "set-up: installing axe-core $AXE_VERSION"
    quietly npm install --prefix "$VENV/axe" --no-save --ignore-scripts --no-audit --no-fund "axe-core@$AXE_VERSION" || {
        warn "set-up: the tests of pages need axe-core $AXE_VERSION from an npm registry, which cannot be reached from here."
        warn "Where it can be: npm install --prefix '$VENV/axe' --no-save --ignore-scripts axe-core@$AXE_VERSION"
        exit 3
    }
    have_axe && return
    warn "set-up: what npm installed is not the axe-core $AXE_VERSION that was tried ('$VENV/$AXE')"
    exit 3
}

wanted_python() { [[ -z ${PACSIFIER_PYTHON:-} ]] || venv_works; }

# What the environment names is used or refused, never replaced.
check_choices() {
    if [[ -n ${PACSIFIER_PYTHON:-} ]] && ! suitable_python "$PACSIFIER_PYTHON"; then
        warn "set-up: PACSIFIER_PYTHON='$PACSIFIER_PYTHON' is no Python 3.10 or later with venv and ensurepip"
        exit 3
    fi
    if [[ -n ${PACSIFIER_DCMTK_DIR:-} ]] && ! have_dcmtk; then
        warn "set-up: PACSIFIER_DCMTK_DIR='$PACSIFIER_DCMTK_DIR' does not hold all of: ${DCMTK_TOOLS[*]}"
        exit 3
    fi
}

set_up() {
    local start lock
    start=$(now_ms)
    check_choices
    LOG=$(mktemp)
    if command -v flock >/dev/null; then
        exec {lock}<"$ROOT" # two scripts at once: the second one waits for the first one's set-up
        flock "$lock"
    fi
    (
        trap 'rm -f -- "$LOG"' EXIT
        install_missing missing_packages "$1"
        install_packages "$1"
        [[ $1 != test ]] || install_axe
    ) || exit 3
    [[ -z ${lock:-} ]] || exec {lock}<&-
    export VIRTUAL_ENV=$VENV PATH=$VENV/bin:$PATH
    hash -r
    say "set-up: ready after $(seconds_since "$start") s"
}
