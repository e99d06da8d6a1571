package worker

import (
	"errors"
	"testing"

	"github.com/csi-uftp/csi-uftp/internal/blockcache"
	"github.com/csi-uftp/csi-uftp/internal/spool"
	"github.com/csi-uftp/csi-uftp/mounter/fusefs"
	"github.com/csi-uftp/csi-uftp/uftp"
)

func TestCounters(t *testing.T) {
	got := counters(uftp.ClientStats{RoundTrips: 7, BytesRead: 1 << 40}, fusefs.Stats{
		Nodes:   3,
		Cache:   blockcache.Stats{FetchedBytes: 11},
		Spool:   spool.Stats{Dirty: 13},
		Failing: map[string]error{"a": errors.New("no"), "b": errors.New("no")},
	}, nil)
	for name, want := range map[string]int64{
		"client_round_trips": 7, "client_bytes_read": 1 << 40, "client_logins": 0,
		"files_nodes": 3, "files_cache_fetched_bytes": 11, "files_spool_dirty": 13, "files_failing": 2,
	} {
		if n, ok := got[name]; !ok || n != want {
			t.Errorf("%s is %d (%v), want %d", name, n, ok, want)
		}
	}
}
