package uftp_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestRateLimit moves more than the limit lets through in a second, while the
// server may not be silent for long.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		const rate = 1 << 20
		data := pattern(rate, 95)
		old(t, s, "data", data)
		c := open(t, s, func(c *uftp.Config) { c.RateLimit = rate })
		uftp.SetStall(c, 500*time.Millisecond)
		start := time.Now()
		p := make([]byte, len(data))
		if _, err := c.ReadAt(t.Context(), "data", p, 0); err != nil || !bytes.Equal(p, data) {
			t.Errorf("read: %v", err)
		}
		if _, err := c.WriteAt(t.Context(), "new", data, 0); err != nil || !bytes.Equal(local(t, s, "new"), data) {
			t.Errorf("write: %v", err)
		}
		if d := time.Since(start); d < 1600*time.Millisecond {
			t.Errorf("2 MiB took %v at 1 MiB/s", d)
		}
		if st := c.Stats(); st.Retries != 0 || st.Logins != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}
