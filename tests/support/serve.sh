#!/bin/sh
# Runs a program until standard input ends, then stops it and removes a folder:
#
#     serve.sh FOLDER ACCOUNT COMMAND [ARGUMENT...]
#
# Standard input is a pipe from whoever started it, so that the program ends with its parent,
# however that ends, and leaves nothing behind. A line on it says how to stop otherwise: "stop" and
# "crash" keep the folder. ACCOUNT is "-", or a user to run the command as.
folder=$1
account=$2
shift 2

# A signal ends the wait below, and so everything in order.
trap : HUP INT TERM

# What a shell starts in the background ignores interrupts otherwise.
set -- env --default-signal=INT,QUIT "$@"
if [ "$account" != - ]; then
    set -- setpriv --reuid="$account" --regid="$(id -g "$account")" --clear-groups "$@"
fi
"$@" </dev/null &
child=$!

how=remove
read -r how || how=remove
case $how in
    crash) kill -QUIT "$child" 2>/dev/null ;;
    *) kill -INT "$child" 2>/dev/null ;;
esac
wait "$child"
code=$?
if [ "$how" = remove ]; then
    # A parent that was killed may leave a copy into the folder that still goes on.
    tries=0
    until rm -rf "$folder" 2>/dev/null || [ "$tries" -ge 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
fi
exit "$code"
