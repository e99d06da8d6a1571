package uftp_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/csi-uftp/csi-uftp/uftp"
	"github.com/csi-uftp/csi-uftp/uftp/uftptest"
)

// TestQuestionsTogether: many questions that wait for one session cost few round
// trips, and each gets its own answer. Some want to know all about a file, others
// only whether it is still the same.
func TestQuestionsTogether(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	const n = 40
	for i := range n {
		if i%7 != 0 {
			s.WriteFile(t, fmt.Sprintf("f%d", i), make([]byte, i))
		}
	}
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 1 })
	check(t, c.Connect(t.Context()))
	before := c.Stats().RoundTrips
	// The first question, which is alone, is answered when all others wait.
	s.Faults().Inject(1, uftptest.Fault{Verb: "STAT", Stall: true})
	asked := s.Stats().Commands["STAT"]
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			path := fmt.Sprintf("f%d", i)
			ask := c.Stat
			if i%3 == 0 {
				ask = func(ctx context.Context, path string) (uftp.Info, error) {
					_, info, err := c.Fetch(ctx, uftp.Read{Path: path, Ahead: i%2 == 0})
					return info, err
				}
			}
			info, err := ask(t.Context(), path)
			switch {
			case i%7 == 0:
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("f%d: %+v, %v", i, info, err)
				}
			case err != nil || info.Size != int64(i) || info.Name != fmt.Sprintf("f%d", i):
				t.Errorf("f%d: %+v, %v", i, info, err)
			}
		})
		if i == 0 {
			eventually(t, "the first is asked", func() bool { return s.Stats().Commands["STAT"] > asked })
		}
	}
	eventually(t, "all others wait", func() bool { return uftp.Questions(c) == n-1 })
	s.Faults().Clear()
	wg.Wait()
	if trips := c.Stats().RoundTrips - before; trips > 4 {
		t.Errorf("%d round trips for %d questions", trips, n)
	}
	if st := c.Stats(); st.Retries != 0 || st.Logins != 1 {
		t.Errorf("%+v", st)
	}
}

// TestQuestionsSurvive asks many questions while sessions break and callers give
// up: nobody gets another's answer, and nobody waits for ever.
func TestQuestionsSurvive(t *testing.T) {
	t.Parallel()
	s := uftptest.Start(t, uftptest.Config{})
	for i := range 20 {
		s.WriteFile(t, fmt.Sprintf("f%d", i), make([]byte, i))
	}
	c := open(t, s, func(c *uftp.Config) { c.MaxSessions = 2 })
	uftp.SetFinishTime(c, time.Millisecond)
	s.Faults().Inject(5, uftptest.Fault{Verb: "MLST", Skip: 20, Kill: true})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for range 10 {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if rand.IntN(3) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
				}
				info, err := c.Stat(ctx, fmt.Sprintf("f%d", i))
				if ctx.Err() == nil && err != nil || err == nil && info.Size != int64(i) {
					t.Errorf("f%d: %+v, %v", i, info, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if n := uftp.Questions(c); n != 0 {
		t.Errorf("%d questions are left", n)
	}
}

// TestChtimesFarAway sets times that not every file system has: either the file has
// it then, or there is an error.
func TestChtimesFarAway(t *testing.T) {
	t.Parallel()
	uftptest.Each(t, uftptest.Config{}, func(t *testing.T, s *uftptest.Server) {
		c := open(t, s)
		s.WriteFile(t, "f", nil)
		s.WriteFile(t, "with blank", nil)
		s.Chown(t)
		for _, name := range []string{"f", "with blank"} {
			for _, year := range []int{1800, 1969, 2030, 2400, 2500, 9000} {
				want := time.Date(year, 3, 4, 5, 6, 7, 0, time.UTC)
				err := c.Chtimes(t.Context(), name, want)
				if err != nil {
					if year >= 1969 && year <= 2030 {
						t.Errorf("%s in %d: %v", name, year, err)
					}
					continue
				}
				if i := ok[uftp.Info](t)(c.Stat(t.Context(), name)); !i.ModTime.Equal(want) {
					t.Errorf("%s in %d: it is %v, without an error", name, year, i.ModTime)
				}
			}
		}
	})
}
