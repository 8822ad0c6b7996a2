#!/usr/bin/env bash
# Makes this machine ready for `npm run demo` and `npm test`: Debian packages, npm packages, native build.
# Idempotent, and quick when there is nothing to do. Arguments are further Debian packages to install. Says in one line what is missing when it cannot go on.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "setup: $*" >&2; exit 1; }
# The line of a log that says why.
reason() { grep -m 1 -E "reason:|^E: " .setup.log || grep -m 1 "npm error" .setup.log || tail -n 1 .setup.log; }

[ "$(uname -s)" = Linux ] || fail "Culvert runs on Linux; this is $(uname -s)."
[ "$(id -u)" = 0 ] || fail "root is needed for network namespaces, eBPF and packages; try: sudo npm test"
case "$(uname -m)" in x86_64 | aarch64) ;; *) fail "there is no pinned Node.js for $(uname -m); x86_64 and aarch64 are supported." ;; esac
kernel=$(uname -r); major=${kernel%%.*}; minor=${kernel#*.}; minor=${minor%%[!0-9]*}
[ "$major" -gt 5 ] || { [ "$major" -eq 5 ] && [ "$minor" -ge 15 ]; } || fail "kernel $kernel is too old; eBPF capture needs 5.15 or newer."
[ -e /proc/self/ns/net ] || fail "this kernel has no network namespaces."

packages="gcc g++ make pkg-config clang llvm bpftool libbpf-dev libssl-dev libnghttp2-dev libjansson-dev linux-libc-dev
  iproute2 nftables iptables ipset conntrack tcpdump iperf3 wrk openssl procps util-linux curl python3 ca-certificates
  containernetworking-plugins $*"
missing=""
for package in $packages; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null || fail "apt-get is missing; install these yourself:$missing"
  echo "setup: installing$missing" >&2
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >.setup.log 2>&1 ||
    { apt-get update -qq >>.setup.log 2>&1 && apt-get install -y -qq --no-install-recommends $missing >>.setup.log 2>&1; } ||
    fail "apt could not install$missing (is there a network?): $(reason)"
  rm -f .setup.log
fi

lock=$(sha256sum package-lock.json | cut -d' ' -f1)
if [ ! -x node_modules/.bin/node ] || [ "$(cat node_modules/.culvert-lock 2>/dev/null)" != "$lock" ]; then
  echo "setup: installing npm packages" >&2
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >.setup.log 2>&1 ||
    fail "npm ci failed (is there a network?): $(reason)"
  rm -f .setup.log
  echo "$lock" >node_modules/.culvert-lock
fi

make -s -C native >.setup.log 2>&1 || { cat .setup.log >&2; fail "the native build failed; see above."; }
rm -f .setup.log
