# shellcheck shell=bash
# Submits the jobs of a query in parts, or prints their table of states: what `pacsifier-slurm` becomes, once it has read
# and checked its options and found the programs; its --help says what they mean.
# Usage: bash submit.sh submit|states NAME=VALUE... -- OPTION OF PACSIFIER...
# The names are the variables below; SBATCH and ANONYMIZE_OPTIONS may come several times.
# Exit status: 0 submitted, 1 Slurm has refused a job, 2 what is there does not fit what is asked for.

set -euo pipefail
umask 077
HERE=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)

CONFIG='' QUERY='' OUT='' SEATS='' LICENSES='' ANONYMIZE='' PARTS='' KEY_DIR=''
PYTHON='' PACSIFIER='' MERGE='' ANONYMIZER=''
AT_A_TIME=1 ANONYMIZE_AT_A_TIME=1 TIME='' REQUEUES=20 ALL=0
SBATCH=() OPTIONS=() ANONYMIZE_OPTIONS=()

warn() { printf 'pacsifier-slurm: %s\n' "$*" >&2; }
wrong() { warn "$*" && exit 2; }

take_values() {
    local word
    while (($#)); do
        word=$1
        shift
        case $word in
            --) OPTIONS=("$@") && return ;;
            SBATCH=*) SBATCH+=("${word#*=}") ;;
            ANONYMIZE_OPTIONS=*) ANONYMIZE_OPTIONS+=("${word#*=}") ;;
            *) printf -v "${word%%=*}" %s "${word#*=}" ;;
        esac
    done
}

# --- the folder of the jobs: <out>/slurm ----------------------------------------------------------------------------

# A query that changed, or another number of parts, would leave patients in parts that no longer ask for them.
make_job_folder() {
    mkdir -p -- "$OUT"
    OUT=$(CDPATH='' cd -- "$OUT" && pwd -P)
    JOB=$OUT/slurm
    mkdir -p -- "$JOB/seats" "$OUT/parts"
    exec {LOCK}>"$JOB/lock"
    flock --nonblock "$LOCK" || wrong "another submit is at work in $OUT"
    if [[ -n $(in_queue) ]]; then
        wrong "jobs of $OUT are still in the queue: wait for their end, or scancel $(job_ids | tr , ' ')"
    fi
    if [[ -f $JOB/query.csv ]]; then
        cmp -s -- "$QUERY" "$JOB/query.csv" || wrong "$OUT was begun with another query file; name another folder"
        [[ $(<"$JOB/parts") == "$PARTS" ]] || wrong "$OUT was begun with $(<"$JOB/parts") parts; give as many, or another folder"
    fi
    printf '%s\n' "$PARTS" >"$JOB/parts"
    cp -- "$HERE"/*.sbatch "$HERE"/{task.sh,told.py} "$JOB/"
    cp -- "$QUERY" "$JOB/query.csv.new" && mv -- "$JOB/query.csv.new" "$JOB/query.csv"
}

# make_seats: a config for each place that the PACS can send to, and the node it is on
make_seats() {
    local seats=0
    rm -f -- "$JOB"/seats/*.{json,node}
    seats=$("$PYTHON" "$HERE/seats.py" "$CONFIG" "$SEATS" "$JOB/seats") || exit 2
    if [[ $SEATS != none ]] && ((AT_A_TIME > seats)); then
        wrong "$AT_A_TIME tasks at a time need as many places that the PACS can send to (--seats); there are $seats"
    fi
}

write_settings() {
    SEATED=1
    [[ $SEATS != none ]] || SEATED=0
    declare -p PATH PYTHON OUT PARTS PACSIFIER MERGE ANONYMIZER ANONYMIZE KEY_DIR REQUEUES SEATED OPTIONS ANONYMIZE_OPTIONS \
        >"$JOB/settings.new"
    mv -- "$JOB/settings.new" "$JOB/settings"
}

# open_parts WHAT: the numbers of the parts that are not complete, as sbatch takes them: 1-3,7
open_parts() {
    local part first='' list=''
    for ((part = 1; part <= PARTS + 1; part++)); do
        if ((part <= PARTS)) && { ((ALL)) || [[ $(state_of "$1" "$part") != complete ]]; }; then
            [[ -n $first ]] || first=$part
        elif [[ -n $first ]]; then
            list+=,$first
            ((part - 1 == first)) || list+=-$((part - 1))
            first=''
        fi
    done
    printf '%s' "${list#,}"
}

# job_ids: of the last submission, with commas between
job_ids() { [[ ! -f $JOB/jobs ]] || cut -d' ' -f2 -- "$JOB/jobs" | paste -sd,; }

# in_queue [OPTION...]: a line for each of them that Slurm still knows; only those that are not over without --states
in_queue() {
    local ids
    ids=$(job_ids)
    [[ -z $ids ]] || squeue --noheader --array --jobs="$ids" --format='%F|%K|%T|%r' "$@" 2>/dev/null || true
}

# --- jobs -----------------------------------------------------------------------------------------------------------

# submit WHAT ARGUMENT...: submits a job, sets ID and notes it down
submit() {
    local what=$1
    shift
    ID=$(sbatch --parsable --job-name="pacsifier-$what" ${SBATCH[@]+"${SBATCH[@]}"} "$@" "$JOB") || exit 1
    ID=${ID%%;*}
    printf '%s %s\n' "$what" "$ID" >>"$JOB/jobs"
    printf '%-16s job %s\n' "$what" "$ID"
}

submit_all() {
    local list after=''
    list=$(open_parts part)
    if [[ -n $list ]]; then
        submit retrieve --array="$list%$AT_A_TIME" ${TIME:+--time="$TIME"} --output="$JOB/part-%a.log" \
            ${LICENSES:+--licenses="$LICENSES"} "$JOB/pacsifier-array.sbatch"
        after=--dependency=afterany:$ID
    fi
    submit merge ${after:+"$after"} --output="$JOB/merge.log" "$JOB/merge.sbatch"
    [[ -n $ANONYMIZE ]] || return 0
    submit anonymize --array="1-$PARTS%$ANONYMIZE_AT_A_TIME" ${TIME:+--time="$TIME"} --output="$JOB/anonymize-%a.log" \
        --dependency="afterok:$ID" --kill-on-invalid-dep=yes "$JOB/anonymize-array.sbatch"
    submit merge-reports --dependency="afterany:$ID" --output="$JOB/merge-reports.log" "$JOB/merge-reports.sbatch"
}

# --- the table of states --------------------------------------------------------------------------------------------

# state_of WHAT PART: the word that the task itself has written down
state_of() {
    local state=''
    [[ ! -f $JOB/$1-$2.state ]] || read -r state _ <"$JOB/$1-$2.state"
    printf '%s' "${state:-waiting}"
}

# told WHAT: of each part, or of the merge, how much is done, the time left and what the summary says, as its events tell
told() {
    local part files=()
    for ((part = 1; part <= PARTS; part++)); do files+=("$JOB/$1-$part.events"); done
    [[ $1 != merge ]] || files=("$JOB/merge.events")
    "$PYTHON" "$HERE/told.py" progress "${files[@]}"
}

print_states() {
    local what id task slurm why state status restarts node since part share left rows
    local -A in_slurm=()
    local -a events
    [[ -f $JOB/jobs ]] || { warn "no jobs were submitted for $OUT"; return 0; }
    while IFS='|' read -r id task slurm why; do
        # Why it waits: some reasons, such as PartitionTimeLimit, never end by themselves.
        [[ $slurm != PENDING ]] || slurm+=" ($why)"
        in_slurm[$id]=$slurm
        in_slurm[$id.$task]=$slurm
    done < <(in_queue --states=all)
    printf '\n%-16s %10s  %s\n' job id slurm
    while read -r what id; do
        rows=-
        # Only a merge that has ended has a summary, and its rows.
        [[ $what != merge ]] || IFS='|' read -r share left rows < <(told merge)
        if [[ $rows == - ]]; then rows=''; else rows="  rows: ${rows//,/, }"; fi
        printf '%-16s %10s  %s%s\n' "$what" "$id" "${in_slurm[$id]:-over}" "$rows"
    done <"$JOB/jobs"
    for what in part anonymize; do
        [[ $what == part || -n $(compgen -G "$JOB/anonymize-*.state") ]] || continue
        printf '\n%-10s %5s  %-12s %6s %8s  %-12s %-20s %-13s %-9s %s\n' \
            "$what" '' state exit requeues node since 'done' left slurm
        mapfile -t events < <(told "$what")
        for ((part = 1; part <= PARTS; part++)); do
            state=waiting status=- restarts=- node=- since=- id=-
            [[ ! -f $JOB/$what-$part.state ]] ||
                read -r state status restarts node since id <"$JOB/$what-$part.state"
            slurm=${in_slurm[$id.$part]:--}
            # Only a task that could still write says that it runs.
            [[ $state != running || $slurm == @(RUNNING|COMPLETING|SUSPENDED|STOPPED) ]] || state=killed
            IFS='|' read -r share left rows <<<"${events[part - 1]:--|-|-}"
            # What was left when a task was killed says nothing any more.
            [[ $state == running ]] || left=-
            printf '%-10s %5d  %-12s %6s %8s  %-12s %-20s %-13s %-9s %s\n' \
                "$what" "$part" "$state" "$status" "$restarts" "$node" "$since" "$share" "$left" "$slurm"
        done
    done
}

states_of_folder() {
    JOB=$OUT/slurm
    [[ -f $JOB/parts ]] || wrong "$OUT holds no jobs of pacsifier-slurm"
    PARTS=$(<"$JOB/parts")
    print_states
}

submit_query() {
    make_job_folder
    if [[ -n $ANONYMIZE ]]; then
        KEY_DIR=${ANONYMIZE%/}.key
        mkdir -p -- "$ANONYMIZE" "$KEY_DIR"
        ANONYMIZE=$(CDPATH='' cd -- "$ANONYMIZE" && pwd -P)
        KEY_DIR=$(CDPATH='' cd -- "$KEY_DIR" && pwd -P)
    fi
    make_seats
    write_settings
    : >"$JOB/jobs"
    rm -f -- "$JOB/merge.events"
    submit_all
    print_states
    printf '\nlater: pacsifier-slurm states %q\n' "$OUT"
}

main() {
    local what=$1
    shift
    shopt -s extglob nullglob
    take_values "$@"
    case $what in
        submit) submit_query ;;
        states) states_of_folder ;;
    esac
}

main "$@"
