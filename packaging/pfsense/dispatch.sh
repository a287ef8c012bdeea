#!/bin/sh
# Stands in the place of the REST API package's dispatch.sh (drop-in mode). The
# package starts it in the background for each run of a dispatcher, and takes its
# process id for the run's:
#   $1  the class's short name, $2  the pid file, $3  the timeout in seconds,
#   $4  the arguments as JSON (releases before 2.1 have none)
#
# It becomes dispatchctl, which asks the daemon for the run and stays until the
# run has ended. So the package's bookkeeping stays true: one process an entry,
# with the id that the package wrote down, as long as the entry waits or runs; and
# the pid file is gone when the process is. What is different: one run at a time
# for certain, nothing lost, no lock left behind, and the time that an entry waits
# does not count as its run time. Who kills the process ends the run with it.
#
# Where no daemon answers, or it does not know the class, it does what the
# package's own script does, under the dispatcher's lock (run/dispatchers/NAME.lock).
#
# Arguments stand on a command line as short as can be: what ps(1) shows, all users
# see. dispatchctl gets them on standard input.

pid_file=${2:-}
manage=$(dirname -- "$0")/manage.php
[ -f "$manage" ] || manage=/usr/local/pkg/RESTAPI/.resources/scripts/manage.php
timeout=${3:-}
case $timeout in '' | *[!0-9]*) timeout=0 ;; esac

# refuse REASON: nothing is run.
refuse() {
  said="dispatch.sh: ${1:-}: $2; nothing was run"
  echo "$said" >&2
  logger -t dispatchd -p daemon.err -- "$said" 2>/dev/null || true
  rm -f -- "$pid_file"
  exit 65
}

# Release 2.10.0 takes a command apart at its quotes before it runs it:
# arguments with a single quote come in pieces. What is missing between the pieces
# nobody can tell, and a guess would be run as root. Native mode has them whole.
[ $# -le 4 ] || refuse "$1" "the package has cut the arguments at a single quote"
# The package writes [] for no arguments. Nothing at all is what is left of some that
# are no JSON.
[ $# -ne 4 ] || [ -n "$4" ] || refuse "$1" "the package has lost the arguments: they are no JSON"

ctl=
for program in "${DISPATCHCTL:-}" /usr/local/bin/dispatchctl /usr/bin/dispatchctl; do
  if [ -x "$program" ]; then ctl=$program; break; fi
done

case ${DISPATCHD_OLD_WAY:-} in
'') # ask the daemon
  arguments=${4:-}
  # A schedule or a person says nothing, and the two are to be one request.
  [ "$arguments" != '[]' ] || arguments=
  # The key is another for each entry. It makes sure that one entry is one job,
  # whatever becomes of a connection. What comes from outside stands behind "--":
  # it is never an option.
  if [ -n "$ctl" ] && [ -n "$arguments" ]; then
    exec "$ctl" run --quiet --patient --bound --pidfile "$pid_file" --key "${pid_file##*/}-$$" --timeout "${timeout}s" \
      -- "$1" - -- env DISPATCHD_OLD_WAY=fd sh "$0" "$1" "$pid_file" "$timeout" <<END 4<<END
$arguments
END
$arguments
END
  elif [ -n "$ctl" ]; then
    exec "$ctl" run --quiet --patient --bound --pidfile "$pid_file" --key "${pid_file##*/}-$$" --timeout "${timeout}s" \
      -- "$1" -- env DISPATCHD_OLD_WAY="${4:-none}" sh "$0" "$1" "$pid_file" "$timeout"
  fi
  arguments=${4:-}
  ;;
fd) arguments=$(cat <&4) ;; # dispatchctl has read its own
'[]') arguments='[]' ;;
none) arguments= ;;
*) arguments=${4:-} ;;
esac

# The old way, but with the arguments in one piece, and never beside another run. The
# package's command takes the dispatcher's lock by itself where it has our lines; else
# dispatchctl does. In the first minutes after boot the lock's directory is made here.
exec 4<&-
unset DISPATCHD_OLD_WAY
set -- "$1" timeout --foreground "$timeout" php -f "$manage" notifydispatcher "$1" "$arguments"
run=$(dirname -- "${DISPATCHD_SOCKET:-/var/run/dispatchd/control.sock}")
case $1 in
'' | *[!A-Za-z0-9_]*) ctl= ;; # no class is named so, and the package's command says it
esac
if [ -n "$ctl" ] && ! grep -q 'dispatchd lock: begin' "$manage" 2>/dev/null; then
  for dir in "$run" "$run/dispatchers"; do
    mkdir -m 755 "$dir" 2>/dev/null
    if [ -z "$(find "$dir" -prune -type d \( -user 0 -o -user "$(id -u)" \) ! -perm -020 ! -perm -002 2>/dev/null)" ]; then
      refuse "$1" "$dir is another user's, or others may write to it"
    fi
  done
  name=$1
  shift
  set -- "$name" "$ctl" lock --quiet --dispatcher "$name" -- "$@"
fi
shift
"$@"
rm -f -- "$pid_file"
