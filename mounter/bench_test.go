package mounter_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// BenchmarkPublish is what a pod waits for: a worker, its log-in at the auth
// service and at the server, and the mount. 150 ms and six round trips are aimed
// at.
func BenchmarkPublish(b *testing.B) {
	for _, roundTrip := range []time.Duration{0, 40 * time.Millisecond} {
		b.Run(roundTrip.String(), func(b *testing.B) {
			// A server counts a session that has ended until it looks next: a node
			// that mounts more often than anybody does would wait for that.
			s := uftptest.Start(b, uftptest.Config{Quirks: uftptest.Quirks{SweepInterval: 5 * time.Millisecond}})
			s.Faults().SetLink(uftptest.Link{Delay: roundTrip / 2})
			e := newEnv(b)
			n := 0
			for b.Loop() {
				n++
				p := e.publication("v"+strconv.Itoa(n), "a"+strconv.Itoa(n))
				p.Spec = serverSpec(s)
				if err := e.manager.Publish(b.Context(), p, serverAccess(s)); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				e.unpublish(p)
				b.StartTimer()
			}
			aim := 150*time.Millisecond + 6*roundTrip
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(aim), "of-the-aim")
		})
	}
}
