package uftp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// poolOf returns a pool whose sessions are opened by open, which may be changed
// by the test between calls of synctest.Wait.
func poolOf(t *testing.T, maxSessions int, open func(n int) error) *pool {
	t.Helper()
	d := &dialer{timeout: time.Second, stall: time.Second, late: newLateWrites()}
	n := 0
	var mu sync.Mutex
	p := newPool(func(ctx context.Context, _ bool) (*session, error) {
		mu.Lock()
		n++
		n := n
		mu.Unlock()
		if err := pause(ctx, time.Millisecond); err != nil { // as the network takes its time
			return nil, err
		}
		if err := open(n); err != nil {
			return nil, err
		}
		client, server := net.Pipe()
		t.Cleanup(func() { _ = server.Close() })
		s := &session{dialer: d, ctl: newControl(client, time.Second, &d.trips)}
		s.life, s.end = context.WithCancel(context.Background())
		return s, nil
	}, maxSessions, time.Minute, slog.New(slog.DiscardHandler))
	t.Cleanup(p.close)
	return p
}

func always(err error) func(int) error { return func(int) error { return err } }

func TestPoolServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(t, 1, always(nil))
		first, err := p.acquire(t.Context(), false, 0)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				s, err := p.acquire(t.Context(), false, 0)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				p.release(s)
			})
			synctest.Wait()
		}
		p.release(first)
		wg.Wait()
		if !slices.IsSorted(order) || len(order) != 10 {
			t.Errorf("served in order %v", order)
		}
	})
}

func TestPoolHeedsContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(t, 1, always(nil))
		s, err := p.acquire(t.Context(), false, 0)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := p.acquire(ctx, false, 0); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrUnavailable) {
			t.Errorf("error %v", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("waited %v", d)
		}
		p.release(s)
		if again, err := p.acquire(t.Context(), false, 0); err != nil || again != s {
			t.Errorf("after a waiter left: %v, %v", again, err)
		}
		if _, err := p.acquire(ctx, false, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended context: %v", err)
		}
	})
}

// TestPoolOpens opens one session first and then all others that it may, but no
// more at the same moment than a server can take.
func TestPoolOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 12
		var now, most, opened atomic.Int32
		var mu sync.Mutex
		var begun []time.Time
		p := poolOf(t, limit, func(n int) error {
			opened.Add(1)
			mu.Lock()
			begun = append(begun, time.Now())
			mu.Unlock()
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			if n == 1 {
				_ = pause(t.Context(), time.Second)
				if most.Load() != 1 {
					t.Errorf("%d at a time before there is one", most.Load())
				}
				return nil
			}
			return pause(t.Context(), time.Second)
		})
		var wg sync.WaitGroup
		start := time.Now()
		for range 20 {
			wg.Go(func() {
				s, err := p.acquire(t.Context(), false, 0)
				if err != nil {
					t.Error(err)
					return
				}
				_ = pause(t.Context(), 10*time.Second)
				p.release(s)
			})
		}
		_ = pause(t.Context(), 5*time.Second)
		if total, _, _ := p.snapshot(); total != limit {
			t.Errorf("%d sessions after %v", total, time.Since(start))
		}
		wg.Wait()
		if most.Load() != limit-1 || opened.Load() != limit {
			t.Errorf("%d at a time, %d in all", most.Load(), opened.Load())
		}
		for i := openBurst; i < len(begun); i++ {
			if d := begun[i].Sub(begun[i-openBurst]); d < openEvery {
				t.Errorf("%d begin within %v", openBurst+1, d)
			}
		}
		// Unused for long, they go.
		_ = pause(t.Context(), 2*time.Minute)
		if total, _, _ := p.snapshot(); total != 0 {
			t.Errorf("%d sessions left", total)
		}
	})
}

// TestPoolLimitInFlight is refused one of several sessions that are being opened:
// the limit is what is there when all have come to their ends.
func TestPoolLimitInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		p := poolOf(t, 8, func(n int) error {
			asked.Add(1)
			if n == 3 || n > 5 {
				return ErrBusy
			}
			if n > 1 {
				return pause(t.Context(), time.Second) // the refusal is first
			}
			return nil
		})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				s, err := p.acquire(t.Context(), false, 0)
				if err != nil {
					t.Error(err)
					return
				}
				_ = pause(t.Context(), growAgain/20) // done before the limit is forgotten
				p.release(s)
			})
		}
		wg.Wait()
		if total, _, limit := p.snapshot(); total != 4 || limit != 4 {
			t.Errorf("%d sessions, limit %d", total, limit)
		}
		if n := asked.Load(); n != 8 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestPoolLearnsLimit is refused a second session: it lives with one, does not
// ask again all the time, and asks again later.
func TestPoolLearnsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refused atomic.Int32
		p := poolOf(t, 4, func(n int) error {
			if n > 1 {
				refused.Add(1)
				return ErrBusy
			}
			return nil
		})
		work := func(each time.Duration) {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					s, err := p.acquire(t.Context(), false, 0)
					if err != nil {
						t.Error(err)
						return
					}
					_ = pause(t.Context(), each)
					p.release(s)
				})
			}
			wg.Wait()
		}
		work(100 * time.Millisecond)
		if n := refused.Load(); n < 1 || n > maxOpening {
			t.Errorf("asked %d times", n)
		}
		first := refused.Load()
		if _, _, limit := p.snapshot(); limit != 1 {
			t.Errorf("limit is %d", limit)
		}
		_ = pause(t.Context(), growAgain)
		work(time.Millisecond)
		if n := refused.Load() - first; n != 1 {
			t.Errorf("asked %d times again", n)
		}
	})
}

// TestPoolAsksAgain is refused a second session once. Whoever waits for it gets it
// when it may be asked for again, though nothing else happens; and the limit is
// forgotten when nobody waits, too.
func TestPoolAsksAgain(t *testing.T) {
	for name, waits := range map[string]bool{"one waits": true, "nobody waits": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := poolOf(t, 4, func(n int) error {
					if n == 2 {
						return ErrBusy
					}
					return nil
				})
				first, err := p.acquire(t.Context(), false, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer p.release(first)
				ctx, stop := context.WithTimeout(t.Context(), time.Second)
				defer stop()
				if waits {
					ctx = t.Context()
				}
				begin := time.Now()
				second, err := p.acquire(ctx, false, 0)
				if !waits {
					if err == nil {
						t.Fatal("a session that was refused")
					}
					_ = pause(t.Context(), 2*growAgain)
					if _, _, limit := p.snapshot(); limit != p.max {
						t.Errorf("limit is %d", limit)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				p.release(second)
				if took := time.Since(begin); took > 2*growAgain {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// TestPoolFailures opens nothing at all.
func TestPoolFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		err      error
		patience time.Duration
		want     time.Duration // how long acquire takes, about
	}{
		"refused":              {ErrAuth, 0, 0},
		"untrusted":            {ErrUntrusted, 0, 0},
		"unavailable":          {ErrUnavailable, 0, 20 * time.Second},
		"busy":                 {ErrBusy, 0, 20 * time.Second},
		"impatient, away":      {ErrUnavailable, busyPatience, 0},
		"impatient, busy":      {ErrBusy, busyPatience, busyPatience},
		"impatient, refused":   {ErrAuth, busyPatience, 0},
		"impatient, no bottom": {errNoBase, busyPatience, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				p := poolOf(t, 4, func(int) error { asked++; return tt.err })
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				start := time.Now()
				_, err := p.acquire(ctx, false, tt.patience)
				if !errors.Is(err, tt.err) {
					t.Errorf("error %v", err)
				}
				if d := time.Since(start); d < tt.want || d > tt.want+maxPause+time.Second {
					t.Errorf("took %v, want %v", d, tt.want)
				}
				if asked > 20 {
					t.Errorf("asked %d times", asked)
				}
			})
		})
	}
}

// TestPoolReplacesDead does not lend what has died, and opens others for those
// who wait when all have.
func TestPoolReplacesDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(t, 1, always(nil))
		s, err := p.acquire(t.Context(), false, 0)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if other, err := p.acquire(t.Context(), false, 0); err != nil || other == s {
				t.Errorf("got %v, %v", other, err)
			} else {
				p.release(other)
				other.abort()
			}
		})
		synctest.Wait()
		s.abort()
		p.release(s)
		wg.Wait()
		if third, err := p.acquire(t.Context(), false, 0); err != nil || third.isClosed() {
			t.Errorf("got %v, %v", third, err)
		}
	})
}

// TestPoolClose ends those who wait and those who work, and lets nothing in.
func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(t, 1, always(nil))
		s, err := p.acquire(t.Context(), false, 0)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := p.acquire(t.Context(), false, 0); !errors.Is(err, errClosed) {
				t.Errorf("error %v", err)
			}
		})
		synctest.Wait()
		p.close()
		wg.Wait()
		if !s.isClosed() {
			t.Error("a session in use lives on")
		}
		p.release(s)
		if _, err := p.acquire(t.Context(), false, 0); !errors.Is(err, errClosed) {
			t.Errorf("error %v", err)
		}
		if total, idle, _ := p.snapshot(); total != 0 || idle != 0 {
			t.Errorf("%d sessions, %d idle", total, idle)
		}
	})
}

// TestPoolReserves opens all sessions for those who move much, and keeps one of
// them for others until nobody else wanted one for a while.
func TestPoolReserves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(t, 3, always(nil))
		asked := time.Now()
		s, err := p.acquire(t.Context(), false, 0)
		if err != nil {
			t.Fatal(err)
		}
		p.release(s)
		var wg sync.WaitGroup
		var got []time.Duration
		var mu sync.Mutex
		for i := range 3 {
			wg.Go(func() {
				s, err := p.acquireBulk(t.Context(), i > 0)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, time.Since(asked))
				t.Cleanup(func() { p.release(s) })
			})
		}
		_ = pause(t.Context(), plainTime/2)
		if total, idle, _ := p.snapshot(); total != 3 || idle != 1 {
			t.Errorf("%d sessions, %d of them idle", total, idle)
		}
		wg.Wait()
		if got[1] > 10*time.Millisecond || got[2] < plainTime || got[2] > 2*plainTime {
			t.Errorf("lent after %v", got)
		}
	})
}

// TestPoolExpects opens what is expected, where the server is far away, and keeps none
// of it for others until those who move much are done.
func TestPoolExpects(t *testing.T) {
	for name, far := range map[string]bool{"far": true, "near": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := poolOf(t, 4, always(nil))
				p.far = func() bool { return far }
				p.expect(3)
				_ = pause(t.Context(), time.Second)
				if !p.empty() {
					t.Error("opened for nobody")
				}
				s, err := p.acquire(t.Context(), false, 0)
				if err != nil {
					t.Fatal(err)
				}
				p.release(s)
				_ = pause(t.Context(), plainTime/2)
				if total, _, _ := p.snapshot(); far && total != 3 || !far && total != 1 {
					t.Errorf("%d sessions", total)
				}
				begin := time.Now()
				var lent []*session
				for i := range 4 {
					s, err := p.acquireBulk(t.Context(), i > 0)
					if err != nil {
						t.Fatal(err)
					}
					lent = append(lent, s)
				}
				if d := time.Since(begin); d > 10*time.Millisecond {
					t.Errorf("the last one was lent after %v", d)
				}
				_ = pause(t.Context(), plainTime)
				wanted := time.Now()
				go func() {
					_ = pause(t.Context(), time.Second)
					for _, s := range lent {
						p.release(s)
					}
				}()
				if s, err = p.acquire(t.Context(), false, 0); err != nil {
					t.Fatal(err)
				}
				p.release(s)
				for i := range 4 { // one is kept again
					if s, err = p.acquireBulk(t.Context(), i > 0); err != nil {
						t.Fatal(err)
					}
					defer p.release(s)
				}
				if d := time.Since(wanted); d < plainTime {
					t.Errorf("all were lent after %v", d)
				}
			})
		})
	}
}

// TestPoolExpectsTooMuch asks once for more than the server allows.
func TestPoolExpectsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		p := poolOf(t, 8, func(n int) error {
			asked.Add(1)
			if n > 2 {
				return ErrBusy
			}
			return nil
		})
		p.far = func() bool { return true }
		p.expect(8)
		s, err := p.acquire(t.Context(), false, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = pause(t.Context(), growAgain/2)
		p.release(s)
		_ = pause(t.Context(), 2*growAgain)
		if total, _, _ := p.snapshot(); total != 2 || asked.Load() > 8 {
			t.Errorf("%d sessions, asked for %d times", total, asked.Load())
		}
	})
}
