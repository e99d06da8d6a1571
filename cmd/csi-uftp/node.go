package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/csi-uftp/csi-uftp/driver"
	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter"
	"github.com/csi-uftp/csi-uftp/mounter/keeper"
	"github.com/csi-uftp/csi-uftp/secrets"
	"github.com/csi-uftp/csi-uftp/uftp"
)

type nodeFlags struct {
	endpoint, nodeID, kubeletDir, pluginDir string
	keeper                                  keeperSocket
	maxVolumes                              int64
	inlineAllow                             []string
}

func newNode(a *app) *cobra.Command {
	var f nodeFlags
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Serve the CSI node service",
		Long: `Runs on every node, as root: it mounts volumes for the kubelet. It needs a
"csi-uftp keeper" beside it, which runs the processes that serve the mounts; it
can start before that.`,
		Example: `  csi-uftp node --endpoint unix:///csi/csi.sock --node-id "$NODE_NAME"
  csi-uftp node --endpoint unix:///run/csi-uftp/csi.sock --node-id test --keeper-socket /run/csi-uftp/keeper.sock --kubelet-dir /tmp/kubelet`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.node(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.endpoint, "endpoint", "unix:///csi/csi.sock", "`URL` of the CSI socket")
	flags.StringVar(&f.nodeID, "node-id", "", "`NAME` of this node, unique in the cluster (required)")
	flags.StringVar(&f.kubeletDir, "kubelet-dir", "/var/lib/kubelet", "`DIRECTORY` of the kubelet")
	flags.StringVar(&f.pluginDir, "plugin-dir", "", "`DIRECTORY` for the mounts (default KUBELET-DIR/plugins/"+driver.DefaultName+")")
	flags.StringVar(&f.keeper.pattern, "keeper-socket", "/run/csi-uftp/keeper.sock", "`PATH` of the keeper's socket; a pattern like /var/lib/kubelet/pods/*/… finds the newest that answers")
	flags.StringVar(&f.keeper.namespace, "keeper-namespace", "", "`NAMESPACE` of the keeper's pod; sockets in volumes of other pods are not believed")
	flags.StringVar(&f.keeper.podLogs, "pod-logs-dir", "/var/log/pods", "`DIRECTORY` of the kubelet's pod logs, which tells the namespaces of pods")
	flags.Int64Var(&f.maxVolumes, "max-volumes", 0, "`NUMBER` of volumes that Kubernetes may place on this node (default no limit)")
	flags.StringSliceVar(&f.inlineAllow, "inline-allow", nil, "`URL` of an auth service that volumes written into pods may name, or what it begins with up to a slash (repeatable; default: there are no such volumes)")
	return cmd
}

func (a *app) node(ctx context.Context, f nodeFlags) (err error) {
	logger, err := a.serviceLogger()
	if err != nil {
		return err
	}
	if f.nodeID == "" {
		return usageErrorf("--node-id is missing: give the node's name")
	}
	if f.pluginDir == "" {
		f.pluginDir = filepath.Join(f.kubeletDir, "plugins", driver.DefaultName)
	}
	m, err := mounter.New(mounter.Config{PluginDir: f.pluginDir, Connect: f.keeper.dial, Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := m.Recover(ctx); err != nil {
		// The keeper's pod may come later. A publish connects by itself.
		logger.Warn("no keeper yet", "err", err)
	}
	credentials, err := newCredentials(logger)
	if err != nil {
		return err
	}
	d, err := driver.New(driver.Config{
		Version: version, Endpoint: f.endpoint, NodeID: f.nodeID, MaxVolumes: f.maxVolumes, InlineAllow: f.inlineAllow,
		Mounter: localErrors{m}, Credentials: credentials, Logger: logger,
	})
	if err != nil {
		return usageErrorf("%v", err)
	}
	logger.Info("node service started", "version", version, "endpoint", f.endpoint, "node_id", f.nodeID)
	return d.Run(ctx)
}

// localErrors gives the error of Publish its gRPC status that driver cannot know:
// there is no keeper on this machine, or it is about to go.
type localErrors struct{ *mounter.Manager }

// Publish implements [driver.Mounter].
func (l localErrors) Publish(ctx context.Context, p volume.Publication, access uftp.Access) error {
	return localError(l.Manager.Publish(ctx, p, access))
}

func localError(err error) error {
	if errors.Is(err, errNoKeeper) || errors.Is(err, keeper.ErrStopping) {
		return noKeeper{err}
	}
	return err
}

type noKeeper struct{ error }

// Error has the form of driver's messages: reason, cause, remedy.
func (e noKeeper) Error() string {
	return "KeeperUnreachable: " + strings.Join(strings.Fields(e.error.Error()), " ") + "; check that a pod of csi-uftp-mount runs on this node"
}

// GRPCStatus is what package status looks for.
func (e noKeeper) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.Error()) }

// newCredentials makes the resolver of credentials. In a pod with a service
// account token it can also read Secrets that volumes name.
func newCredentials(logger *slog.Logger) (*secrets.Resolver, error) {
	config, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return &secrets.Resolver{}, nil
	}
	if err != nil {
		// A pod without a token, which is how the node's manifest has it.
		logger.Info("no access to the Kubernetes API; volumes cannot use secretName", "reason", err.Error())
		return &secrets.Resolver{}, nil
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kubernetes client: %w", err)
	}
	return &secrets.Resolver{Kube: client}, nil
}
