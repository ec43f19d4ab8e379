# shellcheck shell=bash
# What the tasks share: their settings, a word about their state, and ending so that they can go on.
# What a command tells of itself is read from its events (--json), in <job folder>/WHAT-I.events.
# Sourced with the job folder as the first argument; WHAT says what the task does, STATUS how it ended.

JOB=$1
umask 077
# shellcheck source=/dev/null
. "$JOB/settings"

CHILD=''
WOKEN=0
LIMIT=0
RESTARTS=${SLURM_RESTART_COUNT:-0}
NODE=${SLURMD_NODENAME:-$(hostname -s)}

STATE=$JOB/$WHAT-$SLURM_ARRAY_TASK_ID.state
EVENTS=$JOB/$WHAT-$SLURM_ARRAY_TASK_ID.events

# note WORD EXIT_STATUS: what the table of states shows of this task
note() {
    printf '%s %s %s %s %(%Y-%m-%dT%H:%M:%S)T %s\n' "$1" "$2" "$RESTARTS" "$NODE" -1 "$SLURM_ARRAY_JOB_ID" >"$STATE.$NODE"
    mv -- "$STATE.$NODE" "$STATE"
}

# superseded: whether Slurm has started this task anew elsewhere, because it lost sight of the node that this one is on
superseded() {
    local restarts=0 id=''
    [[ ! -f $STATE ]] || read -r _ _ restarts _ _ id <"$STATE"
    [[ $id == "$SLURM_ARRAY_JOB_ID" ]] && ((restarts > RESTARTS))
}

# Before the time limit Slurm sends SIGUSR1 to this shell only; SIGTERM (scancel, preemption) comes to all processes.
# shellcheck disable=SC2329  # called by the trap
on_limit() {
    LIMIT=1 WOKEN=1
    [[ -z $CHILD ]] || kill -TERM "$CHILD" 2>/dev/null
}
trap on_limit USR1
trap 'WOKEN=1' TERM INT HUP

# run COMMAND...: runs it to its end and sets STATUS
run() {
    local status
    # A task that was superseded goes on telling, into the file that it has open.
    rm -f -- "$EVENTS"
    "$@" --json </dev/null >"$EVENTS" &
    CHILD=$!
    ((!LIMIT)) || kill -TERM "$CHILD"
    STATUS=127
    # A signal ends "wait", not what is waited for.
    for ((WOKEN = 1; WOKEN; )); do
        WOKEN=0
        wait "$CHILD" && status=0 || status=$?
        ((status == 127)) || STATUS=$status
    done
    CHILD=''
}

# error: the kind of the error that ended what was run, as its last event tells it
error() { "$PYTHON" "$JOB/told.py" error "$EVENTS"; }

# conclude: notes STATUS down, goes on after the time limit, and ends
conclude() {
    if superseded; then exit "$STATUS"; fi
    if ((LIMIT && STATUS && RESTARTS < REQUEUES)); then
        note again "$STATUS"
        if scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"; then exit "$STATUS"; fi
    fi
    case $STATUS in
        0) note complete 0 ;;
        1) note incomplete 1 ;;
        2) note refused 2 ;;
        3) note unreachable 3 ;;
        4) note no_dcmtk 4 ;;
        129 | 130 | 143) note interrupted "$STATUS" ;;
        137) note killed 137 ;;
        *) note failed "$STATUS" ;;
    esac
    exit "$STATUS"
}
