#!/bin/sh
# The service of dispatchd on pfSense, which runs each *.sh of this directory at
# boot and whenever packages are reloaded: at the end of a change of interfaces,
# while the daemon runs the very job that changes them. So start does nothing to a
# daemon that is up; it only looks that the REST API is still on it.
#
# Who the daemon is, is what has the lock of its state directory: the kernel frees
# that when the process is gone, however it went. A pid file is believed only if the
# process that it names is daemon(8) with our program: any other one there is a
# stranger, and left alone.

set -uf
run=${DISPATCHD_RUN:-/var/run/dispatchd}
state=${DISPATCHD_ROOT:+$DISPATCHD_ROOT/state}
state=${state:-/var/db/dispatchd}
daemon=${DAEMON:-/usr/sbin/daemon}
bin=${DISPATCHD_BIN:-/usr/local/sbin}
ctl=${DISPATCHCTL:-/usr/local/bin/dispatchctl}
restapi=${DISPATCHD_RESTAPI:-/usr/local/sbin/dispatchd-restapi}
supervisor=$run/supervisor.pid
child=$run/dispatchd.pid

# locked FILE: whether a process has the lock. Neither tool makes the file.
locked() {
  [ -f "$1" ] || return 1
  if command -v lockf >/dev/null 2>&1; then
    lockf -k -n -s -t 0 "$1" true 2>/dev/null
  else
    flock -n -E 75 "$1" true
  fi
  [ $? = 75 ]
}

# the_daemon prints the daemon's process, if there is one. It writes its number into
# the lock once it has it.
the_daemon() { locked "$state/lock" && cat "$state/lock"; }

# is_supervisor PID: whether that is daemon(8) with our program. It calls itself
# "daemon: /usr/local/sbin/dispatchd[123]" on FreeBSD; where its command line can be
# seen, our pid file is in it.
is_supervisor() {
  case ${1:-} in '' | *[!0-9]* | 0 | 1) return 1 ;; esac
  # shellcheck disable=SC2046 # its words
  set -- $(ps -ww -o command= -p "$1" 2>/dev/null)
  case ${1:-} in sh | bash | dash | */sh | */bash | */dash) shift ;; esac # a script
  first=${1:-}
  first=${first%:}
  [ "${first##*/}" = "${daemon##*/}" ] || return 1
  case " $* " in
  *" -P $supervisor "*) return 0 ;;
  *" -P "*) return 1 ;;
  *" $bin/dispatchd"* | *" dispatchd"*) return 0 ;;
  esac
  return 1
}

# the_supervisor DAEMON prints its supervisor: its parent, or where there is no daemon
# for the moment who is named in the pid file.
the_supervisor() {
  for pid in ${1:+$(ps -o ppid= -p "$1" 2>/dev/null)} $(head -c 20 "$supervisor" 2>/dev/null); do
    if is_supervisor "$pid"; then
      echo "$pid"
      return
    fi
  done
}

# until_holds SECONDS COMMAND...: wait until it holds.
until_holds() {
  tries=$(($1 * 5))
  shift
  while ! "$@"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 0.2
  done
}

answers() { "$ctl" --quiet status >/dev/null 2>&1; }

# own_directory makes the run directory. Anybody may write to /var/run on pfSense, and
# it is emptied at boot: one that somebody else made is refused, for daemon(8) would
# write its pid files through his links, and all arguments would go through his socket.
own_directory() {
  mkdir -m 755 "$run" 2>/dev/null
  [ -z "$(find "$run" -prune -type d -user "$(id -u)" ! -perm -020 ! -perm -002 2>/dev/null)" ] || return 0
  said="$run is no directory of ours alone: $(ls -ld "$run" 2>&1); look who made it, remove it, and start again"
  echo "dispatchd: $said" >&2
  logger -t dispatchd -p daemon.err -- "$said" 2>/dev/null || true
  return 1
}

# hooks puts the REST API on the daemon, or looks that it still is: an update of the
# package takes it off. It says itself in syslog what is wrong.
hooks() { [ ! -x "$restapi" ] || DISPATCHD_SERVICE=yes "$restapi" on || true; }

start() {
  own_directory || exit 1
  hooks
  [ -z "$(the_daemon)" ] || exit 0
  if [ -z "$(the_supervisor "")" ]; then
    # What the daemon says, also when it dies, goes to syslog.
    "$daemon" -c -f -S -T dispatchd -l daemon -s notice -r -R 5 -P "$supervisor" -p "$child" "$bin/dispatchd" ${DISPATCHD_ROOT:+"--root=$DISPATCHD_ROOT"} || exit 1
  fi
  until_holds 30 answers || { echo "dispatchd does not answer" >&2; exit 1; }
}

# alive PID: whether the process is there, and has not ended already.
alive() {
  case ${1:+$(ps -o stat= -p "$1" 2>/dev/null)} in '' | Z*) return 1 ;; esac
}

# stopped SUPERVISOR: whether it and the daemon are gone. A daemon that goes on
# without its supervisor is told itself: some versions of daemon(8) do not wait for
# it, and one that was killed has told it nothing.
stopped() {
  if [ -n "${1:-}" ] && is_supervisor "$1"; then return 1; fi
  pid=$(the_daemon)
  if [ -z "$pid" ]; then
    ! alive "$last" # it has let go of its lock on its way out
    return
  fi
  if [ "$pid" != "$told" ]; then
    told=$pid last=$pid
    kill "$pid" 2>/dev/null
  fi
  return 1
}

# stop ends the supervisor, which ends the daemon. Running jobs go on, and the
# next daemon takes them over.
stop() {
  told=
  last=$(the_daemon)
  by=$(the_supervisor "$last")
  [ -z "$by" ] || kill "$by"
  until_holds 90 stopped "$by" || { echo "dispatchd does not stop" >&2; exit 1; }
  rm -f "$supervisor" "$child"
}

status() {
  pid=$(the_daemon)
  [ -n "$pid" ] || { echo "dispatchd does not run"; exit 1; }
  echo "dispatchd runs as $pid"
  [ -n "$(the_supervisor "$pid")" ] || echo "nothing would start it again: $0 restart" >&2
}

case ${1:-} in
start) start ;;
stop) stop ;;
restart) stop; start ;;
status) status ;;
*) echo "usage: $0 start|stop|restart|status" >&2; exit 64 ;;
esac
