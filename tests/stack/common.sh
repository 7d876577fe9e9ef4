# What scripts/stack and the supervisor share. Sourced, not run.

# The place where everything of the running stack is found, readable by the servers' own users even where the checkout
# is not (/root is closed to others): the state directory is bind-mounted at $run/state.
run=/run/squall-stack
state=${SQUALL_STACK_DIR:-$top/build/stack}
binaries=${SQUALL_BIN_DIR:-$top/build/release/bin}
services=(postgres redis playlist edge-1 edge-2 front node blackbox alertmanager prometheus load batch)

# Where a cgroup of ours goes: the v2 hierarchy, and blkio's own where the host has v1 controllers.
mapfile -t cgroup_roots < <(
  awk '$3 == "cgroup2" {print $2; exit}' /proc/self/mounts
  awk '$3 == "cgroup" && ("," $4 ",") ~ /,blkio,/ {print $2; exit}' /proc/self/mounts
)

say() { printf '%s\n' "$*"; }
fail() { printf 'stack: %s\n' "$*" >&2; exit 1; }

# A pid alone may have been given to somebody else since; with its start time it cannot.
started_at() { local stat; stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; set -- ${stat##*) }; echo "${20}"; }

supervisor() {  # prints the running supervisor's pid
  local pid start
  read -r pid start 2>/dev/null <"$run/supervisor" || return 1
  [ "$(started_at "$pid")" = "$start" ] && echo "$pid"
}

make_cgroups() {
  local root service
  [ ${#cgroup_roots[@]} -gt 0 ] || fail "no cgroup hierarchy is mounted"
  for root in "${cgroup_roots[@]}"; do
    mkdir -p "$root/squall-stack" 2>/dev/null || fail "make the cgroup $root/squall-stack: the stack needs a writable cgroup file system"
    if grep -qsw io "$root/cgroup.controllers" && ! grep -qsw io "$root/cgroup.subtree_control"; then
      echo +io >"$root/cgroup.subtree_control" 2>/dev/null && echo "$root" >"$run/io-enabled"
    fi
    echo +io 2>/dev/null >"$root/squall-stack/cgroup.subtree_control" || true  # v1 has no such file
    for service in "${services[@]}"; do mkdir -p "$root/squall-stack/$service"; done
  done
}

remove_cgroups() {
  local root
  for root in "${cgroup_roots[@]}"; do
    [ -d "$root/squall-stack" ] || continue
    find "$root/squall-stack" -depth -type d -exec rmdir {} + 2>/dev/null
  done
  if [ -s "$run/io-enabled" ]; then echo -io 2>/dev/null >"$(cat "$run/io-enabled")/cgroup.subtree_control" || true; fi
}

# The processes of one service, or of all: what is in a cgroup of ours is ours, whoever its parent is by now.
pids_of() { cat "${cgroup_roots[0]}"/squall-stack/${1:-*}/cgroup.procs 2>/dev/null; }

kill_service() { local pid; for pid in $(pids_of "$1"); do kill "-$2" "$pid" 2>/dev/null; done; }

end_everything() {
  local service deadline=$((SECONDS + 8))
  for service in "${services[@]}"; do
    # SIGTERM asks PostgreSQL to wait for its clients; SIGINT to send them away.
    [ "$service" = postgres ] && kill_service postgres INT || kill_service "$service" TERM
  done
  while [ -n "$(pids_of)" ] && [ $SECONDS -lt $deadline ]; do sleep 0.05; done
  while [ -n "$(pids_of)" ]; do
    for service in "${services[@]}"; do kill_service "$service" KILL; done
    sleep 0.05
  done
}

is_mounted() { awk -v at="$1" '$2 == at {found = 1} END {exit !found}' /proc/self/mounts; }

unmount() {
  local tries
  for tries in {1..100}; do
    is_mounted "$1" || return 0
    umount "$1" 2>/dev/null || sleep 0.1
  done
  # Busy, though nothing of the stack runs any more: it goes as soon as whoever holds it does.
  umount -l "$1" 2>/dev/null && return 0
  say "stack: $1 is still mounted: $(fuser -m "$1" 2>&1)" >&2
  return 1
}

# Everything that the stack made on this host, gone. The loop device detaches itself with its last mount.
tear_down() {
  end_everything
  local left=0
  unmount "$run/volume" || left=1
  remove_cgroups
  if is_mounted "$run/state"; then
    rm -rf "$run"/state/{postgres,redis,prometheus,alertmanager,edge-1,edge-2,batch,volume.img}
    unmount "$run/state" || left=1
  fi
  [ $left = 0 ] && rm -rf --one-file-system "$run"
}
