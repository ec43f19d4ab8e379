#!/bin/bash
# Runs the given command in the conda environment pacsifier_minimal, in place of this shell: signals, stdin, stdout
# and the exit status are the command's own (`conda run` would hold back the output and take stdin).
set -eu

# Started as root with somebody's folder at /base: be that somebody, so that what is written belongs to them. Ports
# below 1024 stay allowed, for a PACS that sends to port 104.
if [ "$(id -u)" = 0 ]; then
    owner=$(stat -c %u /base)
    group=$(stat -c %g /base)
    if [ "$owner" != 0 ]; then
        become=(setpriv "--reuid=$owner" "--regid=$group" --clear-groups)
        low_ports='-all,+net_bind_service'
        for options in "--inh-caps=$low_ports --ambient-caps=$low_ports" ''; do
            # shellcheck disable=SC2086  # two options, or none
            if "${become[@]}" $options true 2>/dev/null; then
                # shellcheck disable=SC2086
                exec "${become[@]}" $options "$0" "$@"
            fi
        done
        echo "entrypoint: /base belongs to user $owner, and this container may not change its user:" \
            "give --user $owner:$group" >&2
    fi
fi

if [ ! -w "${HOME:-/}" ] || [ "${HOME:-/}" = / ]; then export HOME=/tmp; fi

shopt -s nullglob
for each in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do
    set +u
    # shellcheck disable=SC1090  # packages of the environment bring them
    . "$each"
    set -u
done

exec "$@"
