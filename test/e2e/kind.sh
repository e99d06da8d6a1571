#!/bin/sh
# Runs the tests of test/e2e/pods on a kind cluster of their own, with the
# arguments it gets. It needs Docker, kind, kubectl and Go.
set -eu
cd "$(dirname "$0")/pods"
for program in docker kind kubectl go; do
	command -v "$program" >/dev/null || { echo "e2e-kind needs $program" >&2; exit 1; }
done
name=csi-uftp-e2e-$$
dir=$(mktemp -d)
trap 'kind delete cluster --name "$name"; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

kind create cluster --name "$name" --wait 3m --kubeconfig "$dir/kubeconfig"
export KUBECONFIG="$dir/kubeconfig" E2E_OVERLAY=kind
export E2E_LOAD="kind load image-archive --name $name"
export E2E_NODE_EXEC="docker exec $name-control-plane"
export E2E_RESTART_KUBELET="$E2E_NODE_EXEC systemctl restart kubelet"
go test -c -o "$dir/pods.test" .
"$dir/pods.test" "$@"
