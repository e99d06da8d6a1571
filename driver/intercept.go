package driver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// errPanic is a bug of ours that must not end the process, and with it the
// service for every other volume.
var errPanic = errors.New("internal error, see the driver's log")

// intercept is around every request: it logs what may be logged, admits one
// operation a target or volume at a time, survives panics, and is the only place
// where errors become gRPC statuses.
func (d *Driver) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
	log := d.log.With("rpc", method, "request_id", rand.Text()[:8])
	fields := describe(req)
	log.LogAttrs(ctx, slog.LevelDebug, "request", fields...)

	start := time.Now()
	resp, err := d.handle(ctx, log, req, handler)
	level := slog.LevelInfo
	if err == nil && isQuery(req) {
		level = slog.LevelDebug // kubelet and probes ask all the time
	}
	fields = append(fields, slog.Duration("duration", time.Since(start)))
	if err == nil {
		log.LogAttrs(ctx, level, "request done", append(fields, slog.String("code", codes.OK.String()))...)
		return resp, nil
	}
	st := toStatus(err)
	if level = slog.LevelWarn; st.Code() == codes.Internal {
		level = slog.LevelError
	}
	log.LogAttrs(ctx, level, "request failed", append(fields, slog.String("code", st.Code().String()), slog.String("err", st.Message()))...)
	return nil, st.Err()
}

func (d *Driver) handle(ctx context.Context, log *slog.Logger, req any, handler grpc.UnaryHandler) (resp any, err error) {
	if key := lockKey(req); key != "" {
		if !d.busy.tryLock(key) {
			return nil, fmt.Errorf("%w: %s", volume.ErrInProgress, key)
		}
		defer d.busy.unlock(key)
	}
	defer func() {
		if r := recover(); r != nil {
			// The value of a panic may hold anything; the runtime's own hold nothing secret.
			what := fmt.Sprintf("%T", r)
			if e, ok := r.(runtime.Error); ok {
				what = e.Error()
			}
			log.ErrorContext(ctx, "panic", "value", what, "stack", string(debug.Stack()))
			resp, err = nil, errPanic
		}
	}()
	return handler(withLogger(ctx, log), req)
}

// lockKey names what must not be worked on twice at a time; "" is nothing. It is
// the target for node operations, not the volume: a volume's second target must
// not wait for the first one's server.
func lockKey(req any) string {
	var kind, key string
	switch r := req.(type) {
	case *csi.NodePublishVolumeRequest:
		kind, key = "target ", r.GetTargetPath()
	case *csi.NodeUnpublishVolumeRequest:
		kind, key = "target ", r.GetTargetPath()
	case *csi.CreateVolumeRequest:
		kind, key = "name ", r.GetName()
	case *csi.DeleteVolumeRequest:
		kind, key = "volume ", r.GetVolumeId()
	case *csi.ControllerExpandVolumeRequest:
		kind, key = "volume ", r.GetVolumeId()
	}
	if key == "" {
		return "" // the request will be refused
	}
	if kind == "target " {
		key = filepath.Clean(key)
	}
	return kind + key
}

// isQuery reports whether a request changes nothing.
func isQuery(req any) bool {
	switch req.(type) {
	case *csi.NodePublishVolumeRequest, *csi.NodeUnpublishVolumeRequest,
		*csi.CreateVolumeRequest, *csi.DeleteVolumeRequest, *csi.ControllerExpandVolumeRequest:
		return false
	}
	return true
}

type loggerKey struct{}

// withLogger hands the request's logger, which knows its id, to the handler.
func withLogger(ctx context.Context, log *slog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey{}, log)
}

// logger returns the request's logger.
func (d *Driver) logger(ctx context.Context) *slog.Logger {
	if log, ok := ctx.Value(loggerKey{}).(*slog.Logger); ok {
		return log
	}
	return d.log
}
