#!/bin/sh
# Stands in the place of the REST API package's dispatch.sh (drop-in mode). The
# package starts it in the background for each run of a dispatcher, and takes its
# process id for the run's:
#   $1  the class's short name, $2  the pid file, $3  the timeout in seconds,
#   $4  the arguments as JSON
#
# It becomes dispatchctl, which asks the daemon for the run and stays until the
# run has ended. So the package's bookkeeping stays true: one process an entry,
# with the id that the package wrote down, as long as the entry waits or runs; and
# the pid file is gone when the process is. What is different: one run at a time
# for certain, nothing lost, no lock left behind, and the time that an entry waits
# does not count as its run time. Who kills the process ends the run with it.
#
# Where no daemon answers, or it does not know the class, it does what the
# package's own script does.

pid_file=$2
manage=/usr/local/pkg/RESTAPI/.resources/scripts/manage.php

# Release 2.10.0 takes a command apart at its quotes before it runs it:
# arguments with a single quote come in pieces. What is missing between the pieces
# nobody can tell, and a guess would be run as root. Native mode has them whole.
if [ $# -gt 4 ]; then
  said="dispatch.sh: $1: the package has cut the arguments at a single quote; nothing was run"
  echo "$said" >&2
  logger -t dispatchd -p daemon.err "$said" 2>/dev/null || true
  rm -f "$pid_file"
  exit 65
fi

ctl=
for program in "${DISPATCHCTL:-}" /usr/local/bin/dispatchctl /usr/bin/dispatchctl; do
  if [ -x "$program" ]; then ctl=$program; break; fi
done

if [ -n "$ctl" ] && [ -z "${DISPATCHD_OLD_WAY:-}" ]; then
  timeout=$3
  case $timeout in '' | *[!0-9]*) timeout=0 ;; esac
  # The package writes [] for no arguments; a schedule or a person writes nothing,
  # and the two are to be one request.
  arguments=${4:-}
  [ "$arguments" != '[]' ] || arguments=
  # The key is another for each entry. It makes sure that one entry is one job,
  # whatever becomes of a connection.
  exec "$ctl" run --quiet --patient --bound --pidfile "$pid_file" --key "${pid_file##*/}-$$" --timeout "${timeout}s" \
    "$1" ${arguments:+"$arguments"} -- env DISPATCHD_OLD_WAY=1 sh "$0" "$@"
fi

# The old way, but with the arguments in one piece.
unset DISPATCHD_OLD_WAY
timeout --foreground "$3" php -f "$manage" notifydispatcher "$1" "${4:-}"
rm -f "$pid_file"
