#!/bin/sh
# Runs a program until standard input ends, then stops the program and removes a folder:
#
#     serve.sh FOLDER ACCOUNT COMMAND [ARGUMENT...]
#
# Standard input is a pipe from the parent process, so that the program ends when the parent ends,
# for whatever reason, and leaves no files. A line on standard input stops the program and keeps the
# folder: "stop" sends SIGINT (to PostgreSQL, a fast shutdown), "crash" sends SIGQUIT (an immediate
# one). ACCOUNT is the user to run the command as, or "-" for the current one.
folder=$1
account=$2
shift 2

# A signal to this shell ends the read below, so that the program is stopped and the folder removed.
trap : HUP INT TERM

# Without this a process that a shell starts in the background ignores SIGINT and SIGQUIT.
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
    # A parent that was killed may have left a process that still copies files into the folder.
    tries=0
    until rm -rf "$folder" 2>/dev/null || [ "$tries" -ge 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
fi
exit "$code"
