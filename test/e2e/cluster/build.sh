#!/bin/sh
# Builds what a local cluster needs into the directory OUT: the programs and the
# images. What takes long, Kubernetes and the sidecars, is kept in a cache outside
# of the repository, under a name made from everything it is built from.
#
#   build.sh OUT       build
#   build.sh --warm    say by the exit code whether the cache has all of it
#
# E2E_CACHE is the cache (default ~/.cache/csi-uftp-e2e), GO the go command.
set -eu
[ "$1" = --warm ] || out=$(mkdir -p "$1/images" && cd "$1" && pwd)
cd "$(dirname "$0")"
go=${GO:-go}
cache=${E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/csi-uftp-e2e}
export CGO_ENABLED=0

# place MODULE: where its programs are kept.
place() {
	key=$({ "$go" version; cat build.sh; find "$1" -type f | LC_ALL=C sort | xargs cat; } | sha256sum | cut -c1-16)
	echo "$cache/$1-$key"
}
kube=$(place kube)
sidecars=$(place sidecars)

if [ "$1" = --warm ]; then
	[ -d "$kube" ] && [ -d "$sidecars" ]
	exit
fi

# keep MODULE PLACE: builds it, unless it is there, and forgets older builds.
keep() {
	[ ! -d "$2" ] || return 0
	mkdir -p "$cache"
	new=$(mktemp -d "$cache/building-XXXXXX")
	trap 'rm -rf "$new"' EXIT
	trap 'exit 130' INT TERM
	start=$(date +%s)
	echo "building $1, which takes a while" >&2
	"build_$1" "$new"
	for old in "$cache/$1"-*; do
		[ ! -d "$old" ] || rm -rf "$old"
	done
	mv -T "$new" "$2"
	echo "$1 built in $(($(date +%s) - start)) s" >&2
}

build_kube() {
	version=$(cd kube && "$go" list -m -f '{{.Version}}' k8s.io/kubernetes)
	minor=${version#v1.}
	stamp=
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do # or all say v0.0.0
		stamp="$stamp -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
	done
	(cd kube && "$go" build -trimpath -ldflags "-s -w$stamp" -o "$1/kube" .)
	ln -s kube "$1/kubectl"
}

build_sidecars() {
	(cd sidecars && "$go" build -trimpath -ldflags '-s -w' -o "$1/" tool ./standin)
}

keep kube "$kube"
keep sidecars "$sidecars"

ln -sf "$kube/kube" "$kube/kubectl" "$out/"
cd ../../..
"$go" build -trimpath -o "$out/" ./test/e2e/cluster/localkube ./test/ocitar
"$go" build -trimpath -ldflags '-s -w' -o "$out/" ./test/e2e/cluster/podtool
for file in test/e2e/cluster/images/*.Dockerfile; do
	name=$(basename "$file" .Dockerfile)
	ref=e2e.local/$name:1
	[ "$name" != busybox ] || ref=busybox:1.37 # as the examples call it
	"$out/ocitar" -file "$file" -ref "$ref" -out "$out/images/$name.tar" \
		"podtool=$out/podtool" "standin=$sidecars/standin" \
		"csi-provisioner=$sidecars/csi-provisioner" "csi-resizer=$sidecars/csi-resizer"
done
