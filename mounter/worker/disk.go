package worker

import (
	"context"
	"io"
	"log/slog"

	"github.com/csi-uftp/csi-uftp/internal/diskcache"
	"github.com/csi-uftp/csi-uftp/internal/volume"
	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/uftp"
)

// diskQueue is the part of the memory cache that may wait for the disk.
const diskQueue = 4

// openDisk opens the disk cache that spec asks for, or returns nil. A volume
// works without one, and nobody shares data before it is known whose it is: if
// the auth service does not say so there is none.
func openDisk(ctx context.Context, spec volume.Spec, access uftp.Access, log *slog.Logger) fusefs.Disk {
	if spec.CacheDir == "" {
		return nil
	}
	identity, err := prove(ctx, spec, access)
	if err != nil {
		log.Warn("no disk cache: the auth service does not say who we are", "err", err)
		return nil
	}
	cache, err := diskcache.Open(diskcache.Config{
		Dir:      spec.CacheDir,
		Budget:   spec.CacheDirSize,
		Source:   spec.AuthURL,
		Identity: identity + " in " + spec.RemoteGroup,
		Queue:    min(spec.CacheSize/diskQueue, 16<<20),
		Logger:   log,
	})
	if err != nil {
		log.Warn("no disk cache", "err", err)
		return nil
	}
	return cache
}

// closeDisk closes what openDisk opened, after everybody who uses it.
func closeDisk(disk fusefs.Disk) error {
	if c, ok := disk.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
