// Package driver speaks CSI: it checks a request, calls an interface, and maps
// the error. [Driver] serves Identity, Node and Controller over a unix socket;
// which of the latter two depends on what [Config] has. What is behind the
// interfaces [Mounter], [Credentials] and [Provisioner] is none of its business:
// it knows neither FUSE nor FTP nor Kubernetes' API.
//
// Requests run concurrently, but only one at a time for each target path, volume
// name or volume id; a second one is answered Aborted at once. A Driver keeps no
// state of volumes: after a restart it knows as much as before.
package driver
