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

# All of it is one module, so that what Kubernetes and the sidecars share is
# compiled once.
kube=$cache/kube-$({ "$go" version; cat build.sh; find kube -type f | LC_ALL=C sort | xargs cat; } | sha256sum | cut -c1-16)

if [ "$1" = --warm ]; then
	[ -d "$kube" ]
	exit
fi

if [ ! -d "$kube" ]; then
	mkdir -p "$cache"
	new=$(mktemp -d "$cache/building-XXXXXX")
	trap 'rm -rf "$new"' EXIT
	trap 'exit 130' INT TERM
	start=$(date +%s)
	echo "building Kubernetes, which takes a while" >&2
	version=$(cd kube && "$go" list -m -f '{{.Version}}' k8s.io/kubernetes)
	minor=${version#v1.}
	stamp=
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do # or all say v0.0.0
		stamp="$stamp -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
	done
	# Without inlining, and with more memory for the compiler, it takes two thirds of
	# the time, and is fast enough for tests.
	(cd kube && GOGC=400 "$go" build -trimpath -gcflags=all=-l -ldflags "-s -w$stamp" -o "$new/" . tool ./standin)
	ln -s kube "$new/kubectl"
	for old in "$cache"/kube-* "$cache"/sidecars-*; do # also what earlier versions kept
		[ ! -d "$old" ] || rm -rf "$old"
	done
	mv -T "$new" "$kube"
	echo "Kubernetes built in $(($(date +%s) - start)) s" >&2
fi

ln -sf "$kube/kube" "$kube/kubectl" "$out/"
cd ../../..
"$go" build -trimpath -o "$out/" ./test/e2e/cluster/localkube ./test/ocitar
"$go" build -trimpath -ldflags '-s -w' -o "$out/" ./test/e2e/cluster/podtool
for file in test/e2e/cluster/images/*.Dockerfile; do
	name=$(basename "$file" .Dockerfile)
	ref=e2e.local/$name:1
	[ "$name" != busybox ] || ref=busybox:1.37 # as the examples call it
	"$out/ocitar" -file "$file" -ref "$ref" -out "$out/images/$name.tar" \
		"podtool=$out/podtool" "standin=$kube/standin" \
		"csi-provisioner=$kube/csi-provisioner" "csi-resizer=$kube/csi-resizer"
done
