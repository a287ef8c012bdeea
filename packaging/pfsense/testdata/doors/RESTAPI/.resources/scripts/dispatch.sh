#!/bin/sh
# The stand-in's own script.
timeout --foreground "$3" php -f "$(dirname "$0")/manage.php" notifydispatcher "$1" "$4"
rm -f "$2"
