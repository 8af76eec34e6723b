# SPDX-License-Identifier: MIT
# Shared by the scripts that set up a Debian machine: sourced, with the repository as the folder.

build_packages=(g++ meson ninja-build pkg-config libconcurrentqueue-dev)
example_packages=(libxxhash-dev libcli11-dev libfmt-dev nlohmann-json3-dev libspdlog-dev)
test_packages=(catch2 cmake python3 "${example_packages[@]}")
bench_packages=(libbenchmark-dev libasio-dev libtbb-dev libboost-dev libboost-fiber-dev libeigen3-dev libomp-19-dev)
# Peers in other languages, of which the benchmarks leave out what is not there.
peer_packages=(rustc cargo librust-rayon-dev librust-tokio-dev golang-go)
count_packages=(valgrind binutils)
browser_packages=(chromium fonts-dejavu-core)
model_packages=(spin gcc)

run() {
  printf '+ %s\n' "$*"
  "$@"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    run "$@"
  else
    run sudo "$@"
  fi
}

# Installs those of the given packages that are missing.
install_packages() {
  local missing=() name
  for name in "$@"; do
    [ "$(dpkg-query -W -f='${Status}' "$name" 2>/dev/null)" = 'install ok installed' ] || missing+=("$name")
  done
  [ "${#missing[@]}" -eq 0 ] && return
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# configure FOLDER MESON-OPTIONS...: sets a build folder up, or again with other options.
configure() {
  local folder=$1
  shift
  if [ -f "$folder/build.ninja" ]; then
    run meson setup --reconfigure "$folder" -Dwerror=true "$@"
  else
    run meson setup "$folder" -Dwerror=true "$@"
  fi
}
