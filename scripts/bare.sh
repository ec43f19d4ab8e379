# shellcheck shell=bash
# A bare Debian made here, and the network set-up of this machine handed in to it. Sourced, never run, by
# scripts/bare-debian and the tests of the image. Needs root, debootstrap, Python 3 with pip; `say` and `fail`.
#
#   make_base [PACKAGES]   a bare system of $RELEASE (bookworm, which is Debian 12, unless set later) in the folder
#                          $BARE, with PACKAGES (a,b) too; its log goes to $WORK
#   hand_in_network        what apt and pip are set up for here, in $BARE; sets ENVIRONMENT and BINDS (folders that
#                          have to be bind-mounted: from, to, from, to, ...)
#   apart COMMAND...       runs a command in namespaces of its own; $CHILD is its process
#
# Read from the environment: PACSIFIER_BARE_CACHE, PACSIFIER_BARE_MIRROR (see scripts/bare-debian)

RELEASE=bookworm
CHILD=''
NET=/srv/net # certificates and local mirrors of this machine, inside the bare system
BINDS=()

# --- the bare system ----------------------------------------------------------------------------

# Process and mount namespaces: when the command ends, every process and every mount in it is gone; and it ends, at
# the latest, when this script does, however that ends.
apart() {
    local status=0
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child -- "$@" </dev/null &
    CHILD=$!
    wait "$CHILD" || status=$?
    CHILD=''
    return "$status"
}

# Where apt fetches the release from, as lines of a sources.list. Of a release that apt does not know here: where this
# machine's own comes from, with its updates and security, which sid has none of. Nothing where this is no Debian.
apt_sources() {
    # shellcheck disable=SC2016  # fields that apt fills in
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 2>/dev/null |
        awk -v release="$RELEASE" '
            $1 != "Debian" { next }
            $3 == release || index($3, release "-") == 1 { known[n++] = "deb " $2 " " $3 " " $4; next }
            { end = match($3, /-(updates|security)$/) ? substr($3, RSTART) : "" }
            $3 ~ /-/ && !end || release == "sid" && end { next }
            { like[m++] = "deb " $2 " " release end " " $4 }
            END {
                for (i = 0; i < n; i++) print known[i]
                for (i = 0; i < m && !n; i++) print like[i]
            }' | sort -u
}

mirror() {
    printf '%s' "${PACSIFIER_BARE_MIRROR:-$(apt_sources | awk -v release="$RELEASE" '$3 == release { print $2; exit }')}"
}

make_base() {
    local also=${1:-} kept
    kept=${PACSIFIER_BARE_CACHE:+$PACSIFIER_BARE_CACHE/$RELEASE-minbase${also:+-$also}.tar}
    mkdir -p -- "$BARE"
    if [[ -n $kept && -s $kept ]]; then
        tar -C "$BARE" -xf "$kept"
        return
    fi
    say "making a bare $RELEASE"
    # shellcheck disable=SC2046  # no mirror known: no argument, and debootstrap takes its default
    apart debootstrap --variant=minbase ${also:+"--include=$also"} "$RELEASE" "$BARE" $(mirror) \
        >"$WORK/debootstrap.log" 2>&1 ||
        { tail -n 20 "$WORK/debootstrap.log" >&2; fail "debootstrap failed"; }
    rm -f -- "$BARE"/var/cache/apt/archives/*.deb
    [[ -n $kept ]] || return 0
    mkdir -p -- "$PACSIFIER_BARE_CACHE"
    tar -C "$BARE" -cf "$kept.$$" . && mv -- "$kept.$$" "$kept"
}

# --- the network of this machine, handed in -----------------------------------------------------

# inside WORD: sets REPLY to the word as it reads in the bare system; what lies at a path is taken along
inside() {
    local path=${1#file://} taken name
    REPLY=$1
    [[ $path == /* && -e $path ]] || return 0
    taken=$path
    # The pages of a package index in files point at their neighbours.
    [[ $1 != file://* || $path != /*/* ]] || taken=${path%/*}
    name=$NET/$(printf '%s' "$taken" | tr -c 'A-Za-z0-9._-' '_')
    if [[ -d $taken ]]; then
        mkdir -p -- "$BARE$name"
        [[ " ${BINDS[*]-} " == *" $taken $name "* ]] || BINDS+=("$taken" "$name")
    else
        cp -L -- "$taken" "$BARE$name"
    fi
    REPLY=${1/"$taken"/"$name"}
}

# pip's settings, from all of its files and variables, as one file
hand_in_pip() {
    local line key value word words
    local -A settings=()
    while IFS= read -r line; do # SECTION.KEY='a\nb'
        key=${line%%=*}
        key=${key##*.}
        value=${line#*=}
        value=${value:1:-1}
        words=''
        for word in ${value//\\n/ }; do
            inside "$word"
            words+=" $REPLY"
        done
        [[ -n ${settings[$key]:-} ]] || settings[$key]=${words# } # variables are listed before files, and win
    done < <("${PACSIFIER_PYTHON:-python3}" -m pip config list 2>/dev/null)
    {
        echo '[global]'
        for key in "${!settings[@]}"; do printf '%s = %s\n' "$key" "${settings[$key]}"; done
    } >"$BARE/etc/pip.conf"
}

hand_in_apt() {
    local line sources
    sources=$(apt_sources)
    [[ -z $sources ]] || printf '%s\n' "$sources" >"$BARE/etc/apt/sources.list"
    while IFS= read -r line; do
        if [[ $line =~ ^([^ ]+)\ \"(/.*)\"\;$ ]]; then
            inside "${BASH_REMATCH[2]}"
            line="${BASH_REMATCH[1]} \"$REPLY\";"
        fi
        printf '%s\n' "$line"
    done < <(apt-config dump | grep -E '^Acquire::(https?|Check|Retries|AllowInsecure)') \
        >"$BARE/etc/apt/apt.conf.d/90host"
    # Nothing in it has to outlast a power cut.
    echo 'DPkg::Options { "--force-unsafe-io"; };' >"$BARE/etc/apt/apt.conf.d/90bare"
}

hand_in_network() {
    local name
    mkdir -p -- "$BARE$NET" "$BARE/srv/home"
    cp -L -- /etc/resolv.conf /etc/hosts "$BARE/etc/"
    hand_in_pip
    hand_in_apt
    ENVIRONMENT=(HOME=/srv/home USER=root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
    for name in TERM CI http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        [[ -z ${!name:-} ]] || ENVIRONMENT+=("$name=${!name}")
    done
}
