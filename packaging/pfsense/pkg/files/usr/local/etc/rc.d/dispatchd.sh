#!/bin/sh
# The service of dispatchd on pfSense, which runs each *.sh of this directory at
# boot and whenever packages are reloaded: at the end of a change of interfaces,
# while the daemon runs the very job that changes them. So start does nothing at
# all when the daemon is up.

set -u
run=${DISPATCHD_RUN:-/var/run/dispatchd}
daemon=${DAEMON:-/usr/sbin/daemon}
bin=${DISPATCHD_BIN:-/usr/local/sbin}
ctl=${DISPATCHCTL:-/usr/local/bin/dispatchctl}
restapi=${DISPATCHD_RESTAPI:-/usr/local/sbin/dispatchd-restapi}
supervisor=$run/supervisor.pid
child=$run/dispatchd.pid

# alive FILE: whether the process of a pid file is there.
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

# until SECONDS COMMAND...: wait until it holds.
until_holds() {
  tries=$(($1 * 5))
  shift
  while ! "$@"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    sleep 0.2
  done
}

gone() { ! alive "$supervisor" && ! alive "$child"; }
answers() { "$ctl" --quiet status >/dev/null 2>&1; }

start() {
  alive "$supervisor" && exit 0
  # /var/run is emptied at boot, and anybody may write to it on pfSense.
  mkdir "$run" 2>/dev/null || [ -d "$run" ] || exit 1
  # Before the daemon: a package that was updated meanwhile is put on it again.
  [ ! -x "$restapi" ] || "$restapi" on || true
  # What the daemon says, also when it dies, goes to syslog.
  "$daemon" -c -f -S -T dispatchd -l daemon -s notice -r -R 5 -P "$supervisor" -p "$child" "$bin/dispatchd" ${DISPATCHD_ROOT:+"--root=$DISPATCHD_ROOT"} || exit 1
  until_holds 30 answers || { echo "dispatchd does not answer" >&2; exit 1; }
}

# stop ends the supervisor, which ends the daemon. Running jobs go on, and the
# next daemon takes them over.
stop() {
  alive "$supervisor" || { rm -f "$supervisor" "$child"; return 0; }
  kill "$(cat "$supervisor")"
  until_holds 60 gone || { echo "dispatchd does not stop" >&2; exit 1; }
  rm -f "$supervisor" "$child"
}

case ${1:-} in
start) start ;;
stop) stop ;;
restart) stop; start ;;
status) if alive "$child"; then echo "dispatchd runs as $(cat "$child")"; else echo "dispatchd does not run"; exit 1; fi ;;
*) echo "usage: $0 start|stop|restart|status" >&2; exit 64 ;;
esac
