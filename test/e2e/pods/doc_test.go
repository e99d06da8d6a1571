// Package pods_test installs the shipped manifests on a Kubernetes cluster, as a
// user would, and lets real pods use volumes of a UFTP server that runs as a pod
// itself. It takes any cluster:
//
//	KUBECONFIG           the cluster; without it all tests are skipped
//	E2E_LOAD             a command that gives an image to the nodes, before the
//	                     file's name ("kind load image-archive")
//	E2E_OVERLAY          the overlay to install; default local
//	E2E_NODE_EXEC        a command that runs others on the one node, before them
//	                     ("docker exec kind-control-plane"); without it no test
//	                     looks at the node itself
//	E2E_RESTART_KUBELET  a command that does that; without it that test is skipped
//	E2E_DATASET          bytes of the large file; default 1 GiB
//	E2E_UFTPD            the program test/e2e/pods/uftpd, where the node has this
//	                     machine's files: the server is then the real UFTPD of
//	                     $UFTPD_DIR
//
// "make e2e-local" sets all of them, for a cluster of its own.
package pods_test
