// Package sanity tests the whole product below gRPC: the CSI driver with the real
// resolver of credentials, provisioner, mounter, keeper and worker processes, and
// FUSE mounts, against the UFTP test server. It needs root and /dev/fuse, and
// skips where they are not.
package sanity_test

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/csi-uftp/csi-uftp/mounter/worker"
)

// TestMain is also the worker: the keeper under test executes this binary.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "worker" {
		os.Exit(worker.Run(context.Background(), worker.Config{Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil))}))
	}
	goleak.VerifyTestMain(m,
		// The test runner inside csi-sanity keeps its signal handler.
		goleak.IgnoreTopFunction("github.com/onsi/ginkgo/v2/internal/interrupt_handler.(*InterruptHandler).registerForInterrupts.func2"))
}
