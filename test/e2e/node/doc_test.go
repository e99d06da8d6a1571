// Package node_test runs the services as they run on a node, in processes of
// their own, on this machine's kernel: the keeper, the node service and its
// workers serve volumes of a test server, and of a real UFTPD where there is
// one, to ordinary programs. No cluster is needed, but root and /dev/fuse are.
package node_test
